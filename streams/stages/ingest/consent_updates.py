"""``consent.updates`` to ``consent.decisions``, and to ``behaviour.clean``, where a decision stands among the shopper's events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from streams.clock import Clock
from streams.dead_letters.letters import DeadLetterBuilder, PositionIds
from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import RecordError
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.codec import Codecs
from streams.serde.records import CONSENT, CleanEvent, Consent
from streams.stages.ingest.bare_event import bare
from streams.stages.ingest.consents import ConsentBook, subject_of
from streams.stages.ingest.identities import Identities, Identity
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.times import floor_to
from streams.topics import BEHAVIOUR_CLEAN, CONSENT_DECISIONS, CONSENT_UPDATES


class ConsentUpdates:
    """The part of the ingest stage that handles the shop's messages on consent."""

    def __init__(
        self,
        codecs: Codecs,
        consents: ConsentBook,
        identities: Identities,
        pseudonymizer: Pseudonymizer,
        dead_letters: DeadLetterBuilder,
        ids: PositionIds,
        rules: IngestRules,
        clock: Clock,
    ) -> None:
        self._updates = codecs.for_topic(CONSENT_UPDATES)
        self._decisions = codecs.for_topic(CONSENT_DECISIONS)
        self._clean = codecs.for_topic(BEHAVIOUR_CLEAN)
        self._consents = consents
        self._identities = identities
        self._pseudonymizer = pseudonymizer
        self._dead_letters = dead_letters
        self._ids = ids
        self._rules = rules
        self._clock = clock
        self._following: dict[int, int] = {}
        """By partition, the offset after the last message."""

    async def __call__(self, batch: Sequence[SourceRecord]) -> BatchResult:
        """For each message: an event that says what is refused from there on, and a record for each decision that is in force now."""
        result = BatchResult()
        await self._know_what_came_before(batch)
        now_ms = self._clock.now_ms()
        for record in batch:
            received_ms = record.timestamp if 0 < record.timestamp < now_ms else now_ms
            try:
                message = cast(Consent, self._updates.decode(record.value, record.headers))
                identity = self._identities.of(*subject_of(message, record.key))
                decided = self._consents.decide(message, identity.pseudonym, received_ms, self._rules.max_future_ms)
            except RecordError as error:
                self._refuse(record, error, result)
                continue
            if decided.error is not None:
                self._refuse(record, decided.error, result)
            elif not decided.decisions:
                result.dropped["outdated"] = result.dropped.get("outdated", 0) + 1
            if decided.refused is not None:
                value = self._clean.encode(self._event(record, identity, received_ms, decided.refused))
                result.outputs.append(OutputRecord(BEHAVIOUR_CLEAN, identity.key, value, self._ids.of(record)))
            for number, decision in enumerate(decided.decisions, 1):
                key = f"{identity.pseudonym}/{decision['purpose']}".encode()
                value = self._decisions.encode(decision)
                result.outputs.append(OutputRecord(CONSENT_DECISIONS, key, value, self._ids.of(record, number)))
        return result

    async def _know_what_came_before(self, batch: Sequence[SourceRecord]) -> None:
        """What this worker did not decide itself: all messages of a shopper are in one partition, so that only happens where another one
        had the partition meanwhile, or this one begins. The partition's events wait for this, too."""
        partition, first = batch[0].partition, batch[0].offset
        if self._following.get(partition) != first and self._consents.catch_up is not None:
            await self._consents.catch_up()
        self._following[partition] = batch[-1].offset + 1

    def _event(self, record: SourceRecord, identity: Identity, received_ms: int, refused: list[str]) -> CleanEvent:
        event_id = self._pseudonymizer.position_id(record.topic, record.partition, record.offset)
        event = bare(event_id, identity.pseudonym, b"", CONSENT, floor_to(received_ms, self._rules.time_bucket_ms))
        event["refused"] = refused
        return event

    def _refuse(self, record: SourceRecord, error: RecordError, result: BatchResult) -> None:
        """A message that is wrong says nothing of the producer's events: it does not count towards the bound on rejects."""
        result.outputs.append(self._dead_letters.build(record, error))
        result.rejected += 1
        result.excused += 1
        result.reasons[error.reason.value] = result.reasons.get(error.reason.value, 0) + 1
