"""The ingest stage's batch handler."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

from streams.clock import Clock
from streams.dead_letters import DeadLetterBuilder
from streams.errors import RecordError
from streams.ingest.clean import clean_event
from streams.ingest.deduplicate import RecentEvents
from streams.ingest.rules import IngestRules
from streams.ingest.throttle import Throttle
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import Sealer
from streams.runtime.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW
from streams.wire.codec import Codecs

_IDENTITIES_KEPT = 50_000


class Counters(Protocol):
    """Counts what is dropped by rule."""

    def on_dropped(self, reason: str, count: int = 1) -> None: ...


class IngestStage:
    """Raw events to clean ones and dead letters. The only stage that holds the pseudonymization key."""

    def __init__(
        self,
        *,
        codecs: Codecs,
        pseudonymizer: Pseudonymizer,
        sealer: Sealer,
        dead_letters: DeadLetterBuilder,
        rules: IngestRules,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._raw = codecs.for_topic(BEHAVIOUR_RAW)
        self._clean = codecs.for_topic(BEHAVIOUR_CLEAN)
        self._pseudonymizer = pseudonymizer
        self._sealer = sealer
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock
        self._counters = counters
        self._recent = RecentEvents(rules.dedup_window)
        self._throttles: dict[int, Throttle] = {}
        self._identities: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        result = BatchResult()
        now_ms = self._clock.now_ms()
        duplicates = 0
        partition = batch[0].partition
        throttle = self._throttles.setdefault(partition, Throttle(self._rules.throttle_per_minute))
        for record in batch:
            known_fields: Sequence[str] = ()
            try:
                raw = self._raw.decode(record.value, record.headers)
                known_fields = [name for name, value in raw.items() if value is not None]
                event = clean_event(
                    raw,
                    topic=record.topic,
                    partition=partition,
                    offset=record.offset,
                    record_ms=record.timestamp,
                    now_ms=now_ms,
                    rules=self._rules,
                    identify=self._identify,
                    pseudonymizer=self._pseudonymizer,
                    throttle=throttle,
                )
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error, fields=known_fields))
                result.rejected += 1
                continue
            if self._recent.is_duplicate(event["event_id"], partition, record.offset):
                duplicates += 1
                continue
            result.outputs.append(
                OutputRecord(
                    BEHAVIOUR_CLEAN,
                    event["pseudonym"].encode(),
                    self._clean.encode(event),
                    _record_id(record.topic, partition, record.offset),
                )
            )
        if duplicates:
            self._counters.on_dropped("duplicate", duplicates)
        return result

    def _identify(self, user_id: str) -> tuple[str, bytes]:
        """Pseudonym and sealed id, kept for the users seen last: sealing costs more than all else that is done for an event."""
        known = self._identities.get(user_id)
        if known is None:
            known = (self._pseudonymizer.pseudonym(user_id), self._sealer.seal_id(user_id))
            self._identities[user_id] = known
            if len(self._identities) > _IDENTITIES_KEPT:
                self._identities.popitem(last=False)
        return known


def _record_id(topic: str, partition: int, offset: int) -> bytes:
    return blake2b(f"{topic}/{partition}/{offset}".encode(), digest_size=16).digest()
