"""``consent.updates`` to ``consent.decisions``, and to ``behaviour.clean``, where a decision stands among the shopper's events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import RecordError
from streams.serde.records import CONSENT, Consent
from streams.stages.ingest.shopper_messages import Parts, subject_of
from streams.topics import CONSENT_DECISIONS, CONSENT_UPDATES


class ConsentUpdates:
    """The part of the ingest stage that handles the shop's messages on consent."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._updates = parts.codecs.for_topic(CONSENT_UPDATES)
        self._decisions = parts.codecs.for_topic(CONSENT_DECISIONS)
        self._following: dict[int, int] = {}
        """By partition, the offset after the last message."""

    async def __call__(self, batch: Sequence[SourceRecord]) -> BatchResult:
        """For each message: an event that says what is refused from there on, and a record for each decision that is in force now."""
        result, parts = BatchResult(), self._parts
        await self._know_what_came_before(batch)
        for record in batch:
            received_ms = parts.received_ms(record)
            try:
                message = cast(Consent, self._updates.decode(record.value, record.headers))
                identity = parts.identities.of(*subject_of(message, record.key))
                decided = parts.consents.decide(message, identity.pseudonym, received_ms, parts.rules.max_future_ms, identity.former)
            except RecordError as error:
                parts.refuse(record, error, result)
                continue
            if decided.error is not None:
                parts.refuse(record, decided.error, result)
            elif not decided.decisions:
                result.dropped["outdated"] = result.dropped.get("outdated", 0) + 1
            if parts.moves is not None and decided.refused:
                result.outputs += parts.moves.refused(identity, record, decided.refused, received_ms)
            elif parts.moves is not None:
                result.outputs += parts.moves.seen(identity, record)
            if decided.refused is not None:
                event = parts.event(record, identity, CONSENT, received_ms)
                event["refused"] = decided.refused
                result.outputs.append(parts.clean(record, event))
            for number, decision in enumerate(decided.decisions, 1):
                key = f"{identity.pseudonym}/{decision['purpose']}".encode()
                result.outputs.append(OutputRecord(CONSENT_DECISIONS, key, self._decisions.encode(decision), parts.ids.of(record, number)))
        return result

    async def _know_what_came_before(self, batch: Sequence[SourceRecord]) -> None:
        """What this worker did not decide itself: all messages of a shopper are in one partition, so that only happens where another one
        had the partition meanwhile, or this one begins. The partition's events wait for this, too."""
        partition, first = batch[0].partition, batch[0].offset
        if self._following.get(partition) != first:
            await self._parts.consents.catch_up()
        self._following[partition] = batch[-1].offset + 1
