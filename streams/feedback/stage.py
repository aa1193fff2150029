"""``recommendations`` and ``behaviour.clean`` to ``feedback`` and ``training.pairs``."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import cast

from streams.clock import Clock
from streams.errors import Reason, RecordError
from streams.feedback.attribute import due_at
from streams.feedback.ledger import Interaction, Outstanding, Past, Shopper, dump, load
from streams.feedback.rules import HISTORY_EVENTS, OUTCOME_OF_EVENT, FeedbackRules
from streams.feedback.settle import settle
from streams.runtime.ports import DeadLetters, TopicCodecs
from streams.runtime.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.topics import BEHAVIOUR_CLEAN, FEEDBACK, RECOMMENDATIONS, TRAINING_PAIRS
from streams.wire.records import CleanEvent, Recommendation

__all__ = ["FeedbackRules", "FeedbackStage"]


class _Clockwork:
    """A partition's watermark and what falls due when; rebuilt from the state at a take-over."""

    def __init__(self) -> None:
        self.watermark_ms = 0
        self.last_batch_ms = 0
        self.heap: list[tuple[int, bytes]] = []
        self._handled: dict[str, int] = {}
        self._settled_ms = 0

    def begin(self, topic: str, first: int, last: int) -> None:
        """A batch that follows the one before it proves that what that one settled is written; one that comes again does not."""
        if first > self._handled.get(topic, -1):
            while self.heap and self.heap[0][0] <= self._settled_ms:
                heapq.heappop(self.heap)
        self._handled[topic] = last

    def push(self, due_ms: int | None, key: bytes) -> None:
        if due_ms is not None:
            heapq.heappush(self.heap, (due_ms, key))

    def due(self, watermark_ms: int) -> list[bytes]:
        """Keys with something due. They are taken off by ``begin``, later: a batch that is repeated must find them again."""
        self._settled_ms = watermark_ms
        if not self.heap or self.heap[0][0] > watermark_ms:
            return []
        return sorted({key for due_ms, key in self.heap if due_ms <= watermark_ms})


class FeedbackStage:
    """The stage's BatchHandler, for batches of either source."""

    def __init__(self, *, codecs: TopicCodecs, dead_letters: DeadLetters, rules: FeedbackRules, clock: Clock) -> None:
        self._events = codecs.for_topic(BEHAVIOUR_CLEAN)
        self._recommendations = codecs.for_topic(RECOMMENDATIONS)
        self._feedback = codecs.for_topic(FEEDBACK)
        self._pairs = codecs.for_topic(TRAINING_PAIRS)
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock
        self._partitions: dict[int, _Clockwork] = {}

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        partition = batch[0].partition
        works = self._partitions.setdefault(partition, _Clockwork())
        works.last_batch_ms = self._clock.now_ms()
        works.begin(batch[0].topic, batch[0].offset, batch[-1].offset)
        result = BatchResult()
        of_events = batch[0].topic.endswith(BEHAVIOUR_CLEAN)
        decoded = self._decode(batch, of_events, result)
        shoppers = self._load(state, [key for _, key, _ in decoded])
        changed: set[bytes] = set()
        for offset, key, value in decoded:
            shopper = shoppers[key]
            if of_events:
                applied = self._apply_event(shopper, offset, cast(CleanEvent, value), works)
            else:
                applied = self._apply_recommendation(shopper, offset, cast(Recommendation, value))
            if applied:
                changed.add(key)
        for key in changed:
            works.push(due_at(shoppers[key], self._rules), key)
        self._settle(works.watermark_ms, works, shoppers, changed, partition, result, state)
        return result

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Rebuild the partition's watermark and due times from its state."""
        works = self._partitions[partition] = _Clockwork()
        works.last_batch_ms = self._clock.now_ms()
        for key, value in items:
            shopper = load(value)
            works.watermark_ms = max(works.watermark_ms, shopper.watermark_ms)
            works.push(due_at(shopper, self._rules), key)

    async def on_timer(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> BatchResult:
        """Settle by the wall clock what is due in a partition that has been without events for a while."""
        result = BatchResult()
        works = self._partitions.get(partition)
        now_ms = self._clock.now_ms()
        if works is None or now_ms - works.last_batch_ms < self._rules.idle_ms:
            return result
        due = set(works.due(now_ms))
        if not due:
            return result
        shoppers = {key: load(value) for key, value in items if key in due}
        self._settle(now_ms, works, shoppers, set(), partition, result, None)
        return result

    def _decode(self, batch: Sequence[SourceRecord], of_events: bool, result: BatchResult) -> list[tuple[int, bytes, object]]:
        codec = self._events if of_events else self._recommendations
        decoded: list[tuple[int, bytes, object]] = []
        for record in batch:
            try:
                value = codec.decode(record.value, record.headers)
                key = value["pseudonym"].encode()
                if record.key != key:
                    raise RecordError(Reason.KEY_MISMATCH, "the message key must be the pseudonym")
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                result.rejected += 1
                continue
            decoded.append((record.offset, key, value))
        return decoded

    def _load(self, state: StateView, keys: Sequence[bytes]) -> dict[bytes, Shopper]:
        wanted = list(dict.fromkeys(keys))
        stored = state.get_many(wanted)
        return {key: load(stored[key]) if key in stored else Shopper() for key in wanted}

    def _apply_event(self, shopper: Shopper, offset: int, event: CleanEvent, works: _Clockwork) -> bool:
        before_ms = works.watermark_ms
        works.watermark_ms = max(before_ms, event["occurred_at"])
        if offset <= shopper.clean_offset:
            return False
        shopper.clean_offset = offset
        shopper.watermark_ms = works.watermark_ms
        if not shopper.is_new(event["event_id"]):
            return True
        kind, item_id, time_ms = event["event_type"], event["item_id"], event["occurred_at"]
        if item_id is not None and kind in OUTCOME_OF_EVENT:
            shopper.interactions.append(
                Interaction(offset, time_ms, kind, item_id, event["event_id"], event["recommendation_id"], before_ms)
            )
            del shopper.interactions[: -self._rules.interactions_kept]
        if kind in HISTORY_EVENTS:
            ref = event["query"] if kind == "search" else item_id
            if ref is not None:
                shopper.history.append(Past(offset, time_ms, "query" if kind == "search" else "item", ref, kind))
                # The targets that are not settled yet need what came before them.
                del shopper.history[: -(self._rules.history_size + len(shopper.interactions))]
        return True

    def _apply_recommendation(self, shopper: Shopper, offset: int, value: Recommendation) -> bool:
        if offset <= shopper.recommendation_offset:
            return False
        shopper.recommendation_offset = offset
        shopper.outstanding.append(
            Outstanding(
                value["recommendation_id"],
                value["created_at"],
                value["source_offset"],
                value["policy"],
                value["model_version"],
                [item["item_id"] for item in value["items"]],
            )
        )
        return True

    def _settle(
        self,
        watermark_ms: int,
        works: _Clockwork,
        shoppers: dict[bytes, Shopper],
        changed: set[bytes],
        partition: int,
        result: BatchResult,
        state: StateView | None,
    ) -> None:
        due = works.due(watermark_ms)
        if state is not None:
            shoppers.update(self._load(state, [key for key in due if key not in shoppers]))
        for key in due:
            shopper = shoppers.get(key)
            if shopper is None:
                continue
            feedback, pairs = settle(key.decode(), shopper, watermark_ms, self._rules)
            for told in feedback:
                result.outputs.append(
                    OutputRecord(FEEDBACK, key, self._feedback.encode(told), bytes.fromhex(told["feedback_id"]), partition)
                )
            for pair in pairs:
                result.outputs.append(
                    OutputRecord(TRAINING_PAIRS, key, self._pairs.encode(pair), bytes.fromhex(pair["pair_id"]), partition)
                )
            if feedback or pairs:
                changed.add(key)
        for key in changed:
            result.state[key] = dump(shoppers[key])
        for key in changed.union(due):
            if key in shoppers:
                works.push(due_at(shoppers[key], self._rules), key)
