"""The ingest stage's batch handler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, cast

from streams.clock import Clock
from streams.dead_letters.letters import DeadLetterBuilder, PositionIds
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.errors import ConfigurationError, Reason, RecordError
from streams.privacy.consent import PERSONALIZATION
from streams.privacy.moves import MovesSealer
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer
from streams.serde.codec import Codecs
from streams.serde.records import MOVE, CleanEvent
from streams.sources.loading import load_sources
from streams.sources.source import Line, RawEvent
from streams.sources.sources import Sources
from streams.stages.ingest.asks import Asks
from streams.stages.ingest.clean import ASKS, EventCleaner
from streams.stages.ingest.consent_updates import ConsentUpdates
from streams.stages.ingest.consents import ConsentBook
from streams.stages.ingest.deduplicate import RecentEvents
from streams.stages.ingest.erasure_requests import ErasureRequests
from streams.stages.ingest.generalise import Generaliser
from streams.stages.ingest.identities import Identities
from streams.stages.ingest.moves import Moves
from streams.stages.ingest.quarantine import Quarantine, producer_of
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.shared_ids import SharedIds
from streams.stages.ingest.shopper_messages import Parts
from streams.stages.ingest.throttle import Throttle
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, CONSENT_DECISIONS, CONSENT_UPDATES, DEAD_LETTER, PRIVACY_ERASURE

_OF_SHOPPERS = (CONSENT_UPDATES, PRIVACY_ERASURE)
_RECALLED = 20_000
_LINES = 8192
"""More than a record has lines; so offset and line make one number that rises."""
_NO_FAULT = frozenset({Reason.AUTOMATED, Reason.NOBODY})
"""Robots and guests are no fault of the producer: the limit on rejects must not let them stop the stage for everybody."""
_LEFT_OUT = frozenset({Reason.NO_CONSENT, Reason.NOTHING_TO_LINK, Reason.NOTHING_TO_MOVE})
"""As trackers work, most identify events link nothing: they are counted, and no letters."""
_EXCUSED = _NO_FAULT | _LEFT_OUT
_SMALLEST_WINDOW = 50
_APART = RecordError(Reason.QUARANTINED, "most of this producer's recent records were refused; mend it, then `veilstream recover --replay`")


class Watches(Protocol):
    """What the stage tells besides its result. Nothing of a record: sources are named by their mappings."""

    def read(self, source: str, lines: int) -> None: ...
    def refused(self, source: str, reason: str, events: int) -> None: ...
    def shared_id(self) -> None: ...
    def kept_back(self, counts: Mapping[str, int]) -> None: ...


class IngestStage:
    """Raw events to clean ones and dead letters. The only stage that holds the pseudonymization key."""

    def __init__(
        self,
        *,
        codecs: Codecs,
        pseudonymizer: Pseudonymizer,
        sealer: IdSealer,
        dead_letters: DeadLetterBuilder,
        rules: IngestRules,
        clock: Clock,
        sources: Sources | None = None,
        watch: Watches | None = None,
        consents: ConsentBook | None = None,
        former: Pseudonymizer | None = None,
        moves: MovesSealer | None = None,
    ) -> None:
        """Without ``sources`` those are known that the product has presets for, by header. Without ``consents`` everything is allowed.
        ``former`` and ``moves``: the old key, and what seals both pseudonyms, while the pseudonym key is rotated."""
        self._sources = sources or Sources(codecs.for_topic(BEHAVIOUR_RAW), load_sources(None))
        self._clean = codecs.for_topic(BEHAVIOUR_CLEAN)
        self._asks = Asks(rules.debounce_ms)
        self._generaliser = Generaliser(rules)
        self._prefix = "" if former is None else pseudonymizer.key_id + "."
        identities = Identities(pseudonymizer, sealer, former=former)
        refused = _nothing_refused if consents is None else consents.refused
        self._cleaner = EventCleaner(rules, identities, pseudonymizer, refused, former)
        self._identities = identities
        self._moves: Moves | None = None
        if former is not None and moves is not None:
            codec = codecs.for_topic(CONSENT_DECISIONS)
            self._moves = Moves(moves, former, self._clean, codec, consents, pseudonymizer.record_key, rules.time_bucket_ms)
        self._dead_letters = dead_letters
        self._clock = clock
        self._watch = watch
        self._ids = PositionIds(key=pseudonymizer.record_key)
        dead_letters.share_ids(self._ids)
        self._on_messages: Mapping[str, Callable[[Sequence[SourceRecord]], Awaitable[BatchResult]]] = {}
        """What shoppers want, by the topic in which it is said."""
        if consents is not None:
            parts = Parts(codecs, consents, identities, pseudonymizer, dead_letters, self._ids, rules, clock, self._moves)
            self._on_messages = {CONSENT_UPDATES: ConsentUpdates(parts), PRIVACY_ERASURE: ErasureRequests(parts, self._forget)}
        self._places: dict[tuple[str, int], int] = {}
        """Partitions of topics by number; several raw topics have partitions and offsets alike."""
        self._recent = RecentEvents(rules.dedup_window)
        self._shuffles = rules.shuffles
        self._salts = PositionIds("order/", pseudonymizer.record_key)
        self._throttle = Throttle(rules.throttle_per_minute)
        self._shared = SharedIds(rules.shared_events, rules.shared_sessions)
        window = max(_SMALLEST_WINDOW, rules.reject_window // 10)
        self.quarantine = Quarantine(rules.reject_share_max, window) if rules.quarantines else None
        self.recalls = (BEHAVIOUR_CLEAN, min(rules.dedup_window, _RECALLED))
        """Read by the runtime at a take-over."""

    def recall(self, records: Sequence[SourceRecord]) -> None:
        """Remember the events that the last clean records hold, whichever worker wrote them; so a duplicate that comes after a
        restart is still known for one. The record that brought such an event may come again as well: then it is in the
        output already, and is dropped like a duplicate."""
        if self._moves is not None:
            self._moves.begin_anew()
        for record in records:
            try:
                event = cast(CleanEvent, self._clean.decode(record.value, record.headers))
            except RecordError:
                continue  # not this product's; profile and feedback dead-letter it
            self._recent.remember(event["event_id"], -1, record.offset)
            if event["pseudonym"].startswith(self._prefix):  # in a rotation one shopper must not be counted under two pseudonyms
                self._generaliser.recall(event)

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """Clean events keyed by pseudonym, and dead letters, in the order of the records and their lines; of one key only where the rules
        say that batches are shuffled."""
        if batch and (kind := next((topic for topic in _OF_SHOPPERS if batch[0].topic.endswith(topic)), None)):
            if not self._on_messages:
                raise ConfigurationError(f"this ingest stage was made without consents, and can't read {kind}")
            told = await self._on_messages[kind](batch)
            told.outputs += () if self._moves is None else self._moves.removals(batch[0])
            return told
        result = BatchResult()
        now_ms = self._clock.now_ms()
        read: dict[str, int] = {}
        topic, partition, place = "", -1, 0
        quarantine, lines_of, outputs = self.quarantine, self._sources.read, result.outputs
        for record in batch:
            if record.partition != partition or record.topic != topic:
                topic, partition = record.topic, record.partition
                place = self._places.setdefault((topic, partition), len(self._places))
            window = None
            if quarantine is not None:
                producer = producer_of(record.key, record.headers)
                if producer is not None:
                    window = quarantine.window(topic, partition, producer)
            source, lines = lines_of(record)
            read[source] = read.get(source, 0) + len(lines)
            faults: Sequence[str] = ()
            if window is not None and window.is_apart(record.offset):
                faults = self._assessed(lines, record, now_ms, result)
            elif not lines:
                result.dropped["skipped"] = result.dropped.get("skipped", 0) + 1
            else:
                for number, line in enumerate(lines):
                    try:
                        if isinstance(line, RecordError):
                            raise line
                        output = self._pass_on(line, record, now_ms, number, place, outputs)
                    except RecordError as error:
                        faults = [*faults, *self._refused(line, record, error, number, result)]
                    else:
                        if output is not None:
                            outputs.append(output)
                        elif line["event_type"] != MOVE:
                            result.dropped["duplicate"] = result.dropped.get("duplicate", 0) + 1
            if faults:
                # A record counts once, whatever number of its lines were refused.
                result.rejected += 1
                result.excused += window is not None
                result.reasons[faults[0]] = result.reasons.get(faults[0], 0) + 1
                if self._watch is not None:
                    for reason, count in Counter(faults).items():
                        self._watch.refused(source, reason, count)
            if window is not None:
                window.observe(record.offset, refused=bool(faults) and list(faults) != [_APART.reason.value])
        if self._moves is not None and batch:
            outputs += self._moves.removals(batch[0])
        if self._watch is not None:
            for source, count in read.items():
                self._watch.read(source, count)
            self._watch.kept_back(self._generaliser.take_counts())
        if self._shuffles and batch:
            # By a hash that nobody without the key can foresee. Sorting leaves what has one key in its order.
            salt = self._salts.of(batch[0])
            result.outputs.sort(key=lambda output: hash(salt + (output.partition_key or output.key or b"")))
        return result

    def _forget(self, pseudonym: str) -> None:
        self._asks.forget(pseudonym)
        self._generaliser.forget(pseudonym)

    def _refused(self, line: Line, record: SourceRecord, error: RecordError, number: int, result: BatchResult) -> list[str]:
        """Adds the dead letter of a line, or counts what is left out; the reason, if it is a fault of the producer."""
        if error.reason in _LEFT_OUT:
            result.dropped[error.reason.value] = result.dropped.get(error.reason.value, 0) + 1
            return []
        known_fields = [] if isinstance(line, RecordError) else [name for name, value in line.items() if value is not None]
        letter = self._dead_letters.build(record, error, fields=known_fields, line=number)
        result.outputs.append(letter._replace(unless=(BEHAVIOUR_CLEAN, letter.record_id)))
        return [] if error.reason in _NO_FAULT else [error.reason.value]

    def _assessed(self, lines: Sequence[Line], record: SourceRecord, now_ms: int, result: BatchResult) -> list[str]:
        """Adds the dead letter of a record that is set apart; the reasons of what would have been refused anyway, else that it is."""
        letter = self._dead_letters.build(record, _APART)
        result.outputs.append(letter._replace(unless=(BEHAVIOUR_CLEAN, letter.record_id)))
        faults = []
        for number, line in enumerate(lines):
            try:
                if isinstance(line, RecordError):
                    raise line
                if line["event_type"] != MOVE:
                    self._cleaner.clean(line, record, now_ms, number)
            except RecordError as error:
                if error.reason not in _EXCUSED:
                    faults.append(error.reason.value)
        return faults or [_APART.reason.value]

    def _pass_on(
        self, raw: RawEvent, record: SourceRecord, now_ms: int, line: int, place: int, outputs: list[OutputRecord]
    ) -> OutputRecord | None:
        """The clean event's record; None for a duplicate. What tells of another pseudonym goes into ``outputs``. Raises RecordError."""
        if raw["event_type"] == MOVE:
            self._move(raw, record, line, outputs)
            return None
        cleaned = self._cleaner.clean(raw, record, now_ms, line)
        event = cleaned.event
        offset = record.offset * _LINES + line
        if self._recent.is_duplicate(event["event_id"], place, offset):
            return None
        if cleaned.former_id is not None and self._recent.is_duplicate(cleaned.former_id, place, offset):
            return None
        pseudonym = cleaned.identity.pseudonym
        is_somebody = bool(event["sealed_id"])
        if is_somebody and not self._throttle.allows(pseudonym, cleaned.occurred_ms, place, offset):
            raise RecordError(Reason.AUTOMATED, "more events per minute than a person makes (VEILSTREAM_THROTTLE_PER_MINUTE)")
        if is_somebody and self._shared.observe(pseudonym, cleaned.occurred_ms, event["session"]) and self._watch is not None:
            self._watch.shared_id()
        if self._moves is not None and is_somebody:
            if cleaned.user is not None:
                outputs += self._moves.handed_over(cleaned.identity, cleaned.user, record, line)
            else:
                outputs += self._moves.seen(cleaned.identity, record, line)
        if PERSONALIZATION in event["refused"] and event["event_type"] in ASKS:
            if event["event_type"] != "search" and not self._asks.allows(pseudonym, cleaned.occurred_ms, place, offset):
                raise RecordError(Reason.NO_CONSENT, "the shopper allows no personalization, and has a list already")
            cleaned, is_somebody = self._cleaner.unprofiled(cleaned), False
        self._generaliser.apply(cleaned.event, pseudonym if is_somebody else None, cleaned.occurred_ms, place, offset)
        value = self._clean.encode(cleaned.event)
        self._recent.remember(event["event_id"], place, offset)
        # The clock and the throttle may decide differently when the record is processed again. The first decision counts.
        record_id = self._ids.of(record, line)
        counts = ((cleaned.event["event_type"],),)
        return OutputRecord(BEHAVIOUR_CLEAN, cleaned.key, value, record_id, None, (), (DEAD_LETTER, record_id), counts=counts)

    def _move(self, raw: RawEvent, record: SourceRecord, line: int, outputs: list[OutputRecord]) -> None:
        """An operator names a shopper who is to be moved although she does not show up."""
        if self._moves is None:
            raise RecordError(Reason.NOTHING_TO_MOVE, "no rotation of the pseudonym key goes on")
        outputs += self._moves.seen(self._identities.of(raw["user_id"], raw["anonymous_id"]), record, line)


def _nothing_refused(pseudonym: str, former: str) -> Sequence[str]:
    return ()
