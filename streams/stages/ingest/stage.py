"""The ingest stage's batch handler."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from streams.clock import Clock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.errors import Reason, RecordError
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import Sealer
from streams.serde.codec import Codecs
from streams.stages.ingest.clean import EventCleaner
from streams.stages.ingest.deduplicate import RecentEvents
from streams.stages.ingest.identities import Identities
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.throttle import Throttle
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, DEAD_LETTER

_RECALLED = 20_000
_NO_FAULT = frozenset({Reason.AUTOMATED, Reason.NOBODY})
"""Robots and guests are no fault of the producer: the limit on rejects must not let them stop the stage for everybody."""


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
    ) -> None:
        self._raw = codecs.for_topic(BEHAVIOUR_RAW)
        self._clean = codecs.for_topic(BEHAVIOUR_CLEAN)
        self._cleaner = EventCleaner(rules, Identities(pseudonymizer, sealer), pseudonymizer)
        self._dead_letters = dead_letters
        self._clock = clock
        self._recent = RecentEvents(rules.dedup_window)
        self._throttle = Throttle(rules.throttle_per_minute)
        self.recalls = (BEHAVIOUR_CLEAN, min(rules.dedup_window, _RECALLED))
        """Read by the runtime at a take-over."""

    def recall(self, records: Sequence[SourceRecord]) -> None:
        """Remember the events that the last clean records hold, whichever worker wrote them; so a duplicate that comes after a
        restart is still known for one. The record that brought such an event may come again as well: then it is in the
        output already, and is dropped like a duplicate."""
        for record in records:
            try:
                event = self._clean.decode(record.value, record.headers)
            except RecordError:
                continue  # not this product's; profile and feedback dead-letter it
            self._recent.remember(event["event_id"], -1, record.offset)

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """Clean events keyed by pseudonym, and dead letters, in the order of the records."""
        result = BatchResult()
        now_ms = self._clock.now_ms()
        duplicates = 0
        for record in batch:
            known_fields: list[str] = []
            try:
                raw = self._raw.decode(record.value, record.headers)
                try:
                    output = self._pass_on(raw, record, now_ms)
                except RecordError:
                    known_fields = [name for name, value in raw.items() if value is not None]
                    raise
            except RecordError as error:
                letter = self._dead_letters.build(record, error, fields=known_fields)
                result.outputs.append(letter._replace(unless=(BEHAVIOUR_CLEAN, _record_id(record))))
                if error.reason not in _NO_FAULT:
                    result.rejected += 1
                    result.reasons[error.reason.value] = result.reasons.get(error.reason.value, 0) + 1
                continue
            if output is None:
                duplicates += 1
            else:
                result.outputs.append(output)
        if duplicates:
            result.dropped["duplicate"] = duplicates
        return result

    def _pass_on(self, raw: dict[str, object], record: SourceRecord, now_ms: int) -> OutputRecord | None:
        """The clean event's record; None for a duplicate. Raises RecordError."""
        cleaned = self._cleaner.clean(raw, record, now_ms)
        event = cleaned.event
        partition, offset = record.partition, record.offset
        if self._recent.is_duplicate(event["event_id"], partition, offset):
            return None
        if not self._throttle.allows(event["pseudonym"], cleaned.occurred_ms, partition, offset):
            raise RecordError(Reason.AUTOMATED, "more events per minute than a person makes (VEILSTREAM_THROTTLE_PER_MINUTE)")
        value = self._clean.encode(event)
        self._recent.remember(event["event_id"], partition, offset)
        # The clock and the throttle may decide differently when the record is processed again. The first decision counts.
        refused = (DEAD_LETTER, self._dead_letters.record_id(record))
        return OutputRecord(BEHAVIOUR_CLEAN, cleaned.key, value, _record_id(record), unless=refused)


def _record_id(record: SourceRecord) -> bytes:
    return blake2b(f"{record.topic}/{record.partition}/{record.offset}".encode(), digest_size=16).digest()
