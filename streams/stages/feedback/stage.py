"""``recommendations`` and ``behaviour.clean`` to ``feedback`` and ``training.pairs``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import cast

from streams.audit.trail import NoTrail, Trail, is_head
from streams.clock import Clock
from streams.engine.ports import DeadLetters, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, PartitionState, SourceRecord, StateView
from streams.errors import Reason, RecordError
from streams.privacy.moves import Announcement, MovesReader
from streams.serde.outcomes import each, together
from streams.serde.records import MOVE, CleanEvent, Feedback, Recommendation
from streams.stages.feedback.applying import apply_event, apply_recommendation, concerns, empties, receipts
from streams.stages.feedback.ledger import Shopper, dump, load
from streams.stages.feedback.moves import FeedbackMove
from streams.stages.feedback.moving import arrived, left
from streams.stages.feedback.rules import FeedbackRules
from streams.stages.feedback.settlement import due_at, identity, settle, waits_for
from streams.stages.feedback.timers import EVERYTHING, PartitionTimers
from streams.stages.sealed_moves import SealedMoves
from streams.topics import BEHAVIOUR_CLEAN, FEEDBACK, PRIVACY_MOVES, RECOMMENDATIONS, TRAINING_PAIRS

__all__ = ["FeedbackRules", "FeedbackStage"]

_PROGRESS = b"\0progress/%d"
"""Key of a state that is no shopper's; with the partition in it, since Faust's memory store keeps all of them in one place. It begins with
how far the partition was read, and knows up to which event shoppers are gone."""
_OF_EVENTS = (
    "event_id",
    "pseudonym",
    "event_type",
    "occurred_at",
    "item_id",
    "query",
    "recommendation_id",
    "flags",
    "refused",
    "request_id",
    "move",
)
_OF_RECOMMENDATIONS = (
    "recommendation_id",
    "pseudonym",
    "policy",
    "source_offset",
    "created_at",
    "model_version",
    "trainable",
    "items.item_id",
)


class FeedbackStage:
    """The stage's BatchHandler, for batches of either source.

    Its results depend on the content of the two topics, and not on the order of reading. One condition: while recommendations lag,
    they do not pause for ``idle_ms`` of real time. Without this limit a shop with few recommendations would wait forever.
    """

    def __init__(
        self,
        *,
        codecs: TopicCodecs,
        dead_letters: DeadLetters,
        rules: FeedbackRules,
        clock: Clock,
        trail: Trail | None = None,
        moves: MovesReader | None = None,
    ) -> None:
        """Without ``trail`` nothing is appended to the audit. ``moves``: what this stage has of ``moves.key``."""
        self._moves = SealedMoves("feedback", FeedbackMove, codecs, moves or MovesReader(), dead_letters)
        self.trail = trail or NoTrail()
        self._events = codecs.reading(BEHAVIOUR_CLEAN, _OF_EVENTS)
        self._recommendations = codecs.reading(RECOMMENDATIONS, _OF_RECOMMENDATIONS)
        self._feedback = codecs.for_topic(FEEDBACK)
        self._pairs = codecs.for_topic(TRAINING_PAIRS)
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock
        self._partitions: dict[int, PartitionTimers] = {}

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        if batch[0].topic.endswith(PRIVACY_MOVES):
            return self._arrive(batch, state)
        partition, now_ms = batch[0].partition, self._clock.now_ms()
        of_events = batch[0].topic.endswith(BEHAVIOUR_CLEAN)
        works = self._partitions.get(partition)
        if works is None:
            works = self._partitions[partition] = PartitionTimers(now_ms)
        works.last_batch_ms = now_ms
        if not of_events:
            works.last_recommendation_ms = now_ms
        works.begin(of_events, batch[0].offset, batch[-1].offset)
        result = BatchResult()
        decoded = self._decode(batch, of_events, result)
        shoppers = self._load(state, partition, [key for _, key, _ in decoded])
        changed: set[bytes] = set()
        orders: list[tuple[int, str, str, dict[str, str]]] = []
        for offset, key, value in decoded:
            if isinstance(value, Announcement):
                applied = left(shoppers[key], offset, value, self._rules.history_size, self._moves, result)
            elif of_events:
                orders += receipts(shoppers[key], offset, cast(CleanEvent, value))
                if empties(shoppers[key], offset, cast(CleanEvent, value)):
                    result.erased.add(key)
                applied = apply_event(shoppers[key], offset, cast(CleanEvent, value), works, self._rules)
            else:
                applied = apply_recommendation(shoppers[key], offset, cast(Recommendation, value), works)
            if applied:
                changed.add(key)
        for key in changed:
            works.times.add(due_at(shoppers[key], self._rules), key)
        is_silent = now_ms - works.last_recommendation_ms >= self._rules.idle_ms
        source_offset = EVERYTHING if is_silent else works.source_offset
        due = works.due(works.watermark_ms, source_offset)
        shoppers.update(self._load(state, partition, [key for key in due if key not in shoppers]))
        self._settle(due, shoppers, changed, works.watermark_ms, source_offset, partition, result)
        self._conclude(shoppers, changed.union(due), changed, works.watermark_ms, source_offset, works, partition, result)
        if orders:
            records = {record.offset: record for record in batch}
            page = self.trail.open(batch, state)
            for offset, action, pseudonym, details in orders:
                page.append(records[offset], action, pseudonym, details)
            page.close(result)
        return result

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Rebuild the partition's progress and due times from its state."""
        works = self._partitions[partition] = PartitionTimers(self._clock.now_ms())
        works.restore(self._scheduled(works, items))

    async def on_timer(self, partition: int, state: PartitionState) -> BatchResult:
        """Settle by the wall clock what is due in a partition that has been without events for a while."""
        result = BatchResult()
        works = self._partitions.get(partition)
        now_ms = self._clock.now_ms()
        if works is None or now_ms - works.last_batch_ms < self._rules.idle_ms:
            return result
        due = set(works.due(now_ms, EVERYTHING))
        if due:
            progress = _PROGRESS % partition
            shoppers = {progress: Shopper()} | {key: load(value) for key, value in state.get_many([progress, *due]).items()}
            due.intersection_update(shoppers)
            changed: set[bytes] = set()
            self._settle(sorted(due), shoppers, changed, now_ms, EVERYTHING, partition, result)
            self._conclude(shoppers, due, changed, now_ms, EVERYTHING, works, partition, result)
        return result

    def expired(self, partition: int, items: Mapping[bytes, bytes]) -> list[bytes] | None:
        """Shoppers of whom nothing is waited for, and who did nothing for so long; None while no event was seen."""
        works = self._partitions.get(partition)
        if works is None or works.watermark_ms <= 0:
            return None
        before_ms = self._idle_before_ms(works)
        shoppers = {key: load(data) for key, data in items.items() if not is_head(key) and key != _PROGRESS % partition}
        return [key for key, shopper in shoppers.items() if shopper.is_idle_since(before_ms)]

    def _idle_before_ms(self, works: PartitionTimers) -> float:
        return works.watermark_ms - self._rules.max_age_ms

    def _scheduled(self, works: PartitionTimers, items: Iterable[tuple[bytes, bytes]]) -> Iterable[Shopper]:
        for key, value in items:
            if is_head(key):
                continue
            shopper = load(value)
            works.times.add(due_at(shopper, self._rules), key)
            works.offsets.add(shopper.marked_until if shopper.marked_until >= 0 else None, key)
            yield shopper

    def _decode(self, batch: Sequence[SourceRecord], of_events: bool, result: BatchResult) -> list[tuple[int, bytes, object]]:
        codec = self._events if of_events else self._recommendations
        decoded: list[tuple[int, bytes, object]] = []
        reasons: Counter[str] = Counter()
        for record in batch:
            try:
                value = codec.decode(record.value, record.headers)
                key = value["pseudonym"].encode()
                if record.key != key:
                    raise RecordError(Reason.KEY_MISMATCH, "the message key must be the pseudonym")
                if of_events and value["event_type"] == MOVE:
                    said = self._moves.announcement(value["move"], result)
                    if said is not None:
                        decoded.append((record.offset, said.old.encode(), said))
                    continue
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                reasons[error.reason.value] += 1
                continue
            if of_events and not concerns(cast(CleanEvent, value)):
                continue
            decoded.append((record.offset, key, value))
        result.rejected, result.reasons = reasons.total(), dict(reasons)
        return decoded

    def _arrive(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """What comes from old pseudonyms, to the shoppers under the new ones. It is no progress of the partition's other sources."""
        result, partition = BatchResult(), batch[0].partition
        moves = self._moves.decoded(batch, result)
        shoppers = self._load(state, partition, [move.new.encode() for move in moves])
        works = self._partitions.get(partition)
        for key in arrived(moves, shoppers, self._rules.history_size):
            shopper = shoppers[key]
            result.state[key] = None if shopper.is_blank else dump(shopper)
            if works is not None:  # an erased one, whose mark was kept for what has left now
                works.offsets.add(shopper.marked_until if shopper.marked_until >= 0 else None, key)
        return result

    def _load(self, state: StateView, partition: int, keys: Sequence[bytes]) -> dict[bytes, Shopper]:
        """With the progress among them. Who is not in the state is new, or gone: nothing up to where shoppers are gone is wanted of
        either, should it be read again."""
        progress = _PROGRESS % partition
        wanted = list(dict.fromkeys(keys))
        stored = {key: load(value) for key, value in state.get_many([progress, *wanted]).items()}
        stored.setdefault(progress, Shopper())
        until = stored[progress].clean_offset
        return stored | {key: Shopper(clean_offset=until, refused_offset=until) for key in wanted if key not in stored}

    def _settle(
        self,
        due: Iterable[bytes],
        shoppers: dict[bytes, Shopper],
        changed: set[bytes],
        watermark_ms: int,
        source_offset: int,
        partition: int,
        result: BatchResult,
    ) -> None:
        """What is due goes into the result, and who it changes into ``changed``."""
        for key in due:
            shopper = shoppers[key]
            unsettled = len(shopper.interactions)
            feedback, pairs = settle(key.decode(), shopper, watermark_ms, source_offset, self._rules)
            for name, record in self._records(feedback):
                counts = tuple((one["outcome"], record["policy"], record["model_version"]) for one in each(record))
                value = self._feedback.encode(record)
                result.outputs.append(OutputRecord(FEEDBACK, key, value, bytes.fromhex(name), partition, counts=counts))
            for pair in pairs:
                result.outputs.append(
                    OutputRecord(TRAINING_PAIRS, key, self._pairs.encode(pair), bytes.fromhex(pair["pair_id"]), partition)
                )
            if feedback or len(shopper.interactions) != unsettled:
                changed.add(key)

    def _records(self, feedback: list[Feedback]) -> Iterable[tuple[str, Feedback]]:
        """Ids and records as they are written."""
        if not self._rules.is_together:
            return [(record["feedback_id"], record) for record in feedback]
        # An id that no item's own record has: after a change of the setting nothing is taken for written that is not.
        return [(identity(name), together(list(group))) for name, group in groupby(feedback, key=itemgetter("recommendation_id"))]

    def _conclude(
        self,
        shoppers: dict[bytes, Shopper],
        touched: Collection[bytes],
        changed: Iterable[bytes],
        watermark_ms: int,
        source_offset: int,
        works: PartitionTimers,
        partition: int,
        result: BatchResult,
    ) -> None:
        """When to look at the touched ones again, and the new state of those that changed. Who has done nothing for so long that only what
        was waited for kept her is removed: the daily pass over the state came too early for her."""
        for key in touched:
            works.times.add(due_at(shoppers[key], self._rules, watermark_ms), key)
            works.offsets.add(waits_for(shoppers[key], watermark_ms, source_offset, self._rules), key)
        after = works.done()
        gone = [key for key in touched if shoppers[key].is_gone(source_offset)]
        idle = [key for key in touched if key != _PROGRESS % partition and shoppers[key].is_idle_since(self._idle_before_ms(works))]
        result.expired = len(idle)
        gone += idle
        unmarked = [key for key in touched if shoppers[key].drop_marks(source_offset)]
        for key in {*changed, *unmarked}.difference(gone):
            shopper = shoppers[key]
            shopper.before, shopper.after = works.before, after
            shopper.trim_history(self._rules.history_size, self._rules.interactions_kept, source_offset)
            result.state[key] = dump(shopper)
        if gone:
            # Last, and before them up to where: should the batch come again, who is not in the state is known to be gone, or nothing of
            # theirs was written yet. How far the partition was read may be known by their states alone.
            progress = _PROGRESS % partition
            until = max(shoppers[key].clean_offset for key in [progress, *gone])
            result.state[progress] = dump(Shopper(clean_offset=until, before=works.before, after=after))
            result.state.update(dict.fromkeys(gone))
