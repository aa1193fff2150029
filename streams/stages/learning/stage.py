"""``training.pairs``, ``feedback`` and ``recommendations`` to ``training.tallies``, and these to requests on ``training.control``.

Every partition counts its own records and publishes its tally. The owner of partition 0 decides over all of them (docs/decisions/0008).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from math import nan
from typing import Any, Literal, Protocol

import msgspec

from streams.clock import Clock
from streams.engine.ports import DeadLetters, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, PartitionState, SourceRecord, StateView
from streams.errors import RecordError
from streams.serde.outcomes import each
from streams.serde.records import TrainingTally
from streams.stages.learning.decision import TriggerBaseline, TriggerJudgement, ask, judge
from streams.stages.learning.drift import population_stability
from streams.stages.learning.rounds import Rounds
from streams.stages.learning.rules import LearningRules
from streams.stages.learning.tallies import Tallies
from streams.stages.learning.tally import add_feedback, add_recommendations, empty_tally, position
from streams.stages.learning.trigger import Situation
from streams.topics import FEEDBACK, RECOMMENDATIONS, TRAINING_CONTROL, TRAINING_PAIRS, TRAINING_TALLIES

__all__ = ["LearningRules", "LearningStage"]

DECIDES = 0
"""The partition whose owner decides."""
_SINCE_KEY = b"since"
_READ = {
    TRAINING_PAIRS: ("pair_id",),
    FEEDBACK: ("model_version", "outcome", "created_at", "others.outcome"),
    RECOMMENDATIONS: ("model_version", "created_at", "items.score", "trainable"),
}
_OFFSETS: dict[str, Literal["pairs_offset", "feedback_offset", "recommendations_offset"]] = {
    TRAINING_PAIRS: "pairs_offset",
    FEEDBACK: "feedback_offset",
    RECOMMENDATIONS: "recommendations_offset",
}


class TriggerMetrics(Protocol):
    """The metrics of the trigger."""

    def situation(self, new_pairs: float, stability: float, ignored_share: float, running: float) -> None: ...
    def requested(self, cause: str) -> None: ...


class LearningStage:
    """The stage's BatchHandler, for batches of each source, and its timer.

    ``board`` and ``rounds`` are fed from outside; ``catch_up`` returns when all that ``training.control`` holds is in ``rounds``.
    """

    timer_from_start: Literal[True] = True

    def __init__(
        self,
        *,
        codecs: TopicCodecs,
        tallies: Tallies,
        rounds: Rounds,
        catch_up: Callable[[], Awaitable[object]],
        dead_letters: DeadLetters,
        rules: LearningRules,
        clock: Clock,
        metrics: TriggerMetrics,
    ) -> None:
        self._readers = {topic: codecs.reading(topic, only) for topic, only in _READ.items()}
        self._tally = codecs.for_topic(TRAINING_TALLIES)
        self._control = codecs.for_topic(TRAINING_CONTROL)
        self._tallies = tallies
        self._rounds = rounds
        self._catch_up = catch_up
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock
        self._metrics = metrics
        self._last_asked = ""

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        source = next(topic for topic in _READ if batch[0].topic.endswith(topic))
        partition = batch[0].partition
        key = _tally_key(partition)
        stored = state.get_many([key]).get(key)
        tally = empty_tally(partition) if stored is None else _load(stored)
        offset = _OFFSETS[source]
        result = BatchResult()
        # What is in the tally already was counted before a crash.
        values = self._decode(source, [record for record in batch if record.offset > tally[offset]], result)
        if source == TRAINING_PAIRS:
            tally["pairs"] += len(values)
        elif source == FEEDBACK:
            add_feedback(tally, chain.from_iterable(map(each, values)), self._rules.bucket_ms)
        else:
            add_recommendations(tally, [value for value in values if value["trainable"]], self._rules.bucket_ms)
        tally[offset] = max(tally[offset], batch[-1].offset)
        result.state[key] = msgspec.msgpack.encode(tally)
        return result

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Nothing is kept in memory that depends on what is owned."""

    async def on_timer(self, partition: int, state: PartitionState) -> BatchResult:
        """Publish the partition's tally if it has changed. On the deciding partition, request a round if there is a cause."""
        key = _tally_key(partition)
        stored = state.get_many([key, _SINCE_KEY])
        result = BatchResult()
        if key in stored:
            tally = _load(stored[key])
            reached = position(tally)
            if reached > self._tallies.position(partition):
                identity = blake2b(f"{partition}/{reached}".encode(), digest_size=16, person=b"vs.tally").digest()
                result.outputs.append(OutputRecord(TRAINING_TALLIES, str(partition).encode(), self._tally.encode(tally), identity))
        if partition == DECIDES:
            await self._decide(stored.get(_SINCE_KEY), result)
        return result

    async def _decide(self, stored: bytes | None, result: BatchResult) -> None:
        known = None if stored is None else msgspec.msgpack.decode(stored, type=TriggerBaseline)
        judged = self._judge(known)
        if judged.decision.start:
            # Another request may just have been written. If the reader of the topic has stopped, its data is old: then this raises.
            await self._catch_up()
            judged = self._judge(known)
        self._tell(judged.situation)
        since = judged.since
        if judged.decision.start:
            request, since = ask(judged, self._tallies.tallies, self._rules)
            identity = request["request_id"]
            if identity != self._last_asked:
                self._metrics.requested(request["cause"])
                self._last_asked = identity
            value = self._control.encode(request)
            result.outputs.append(OutputRecord(TRAINING_CONTROL, identity.encode(), value, bytes.fromhex(identity)))
        if since != known:
            result.state[_SINCE_KEY] = msgspec.msgpack.encode(since)

    def _judge(self, known: TriggerBaseline | None) -> TriggerJudgement:
        return judge(known, self._rounds, self._tallies.tallies, self._rules, self._clock.now_ms())

    def _tell(self, now: Situation) -> None:
        enough = min(sum(now.reference_scores), sum(now.recent_scores)) >= self._rules.trigger.min_window
        stability = population_stability(now.reference_scores, now.recent_scores) if enough else nan
        shown = now.recent_shown
        self._metrics.situation(now.new_pairs, stability, shown.ignored / shown.items if shown.items else nan, now.running)

    def _decode(self, source: str, records: Sequence[SourceRecord], result: BatchResult) -> list[Any]:
        values: list[Any] = []
        reasons: Counter[str] = Counter()
        for record in records:
            try:
                values.append(self._readers[source].decode(record.value, record.headers))
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                reasons[error.reason.value] += 1
        result.rejected, result.reasons = reasons.total(), dict(reasons)
        return values


def _load(stored: bytes) -> TrainingTally:
    """State is not framed as topics are: it stays readable whichever registry the codecs use."""
    return msgspec.msgpack.decode(stored, type=TrainingTally)


def _tally_key(partition: int) -> bytes:
    """With the partition in it: Faust's memory store keeps all of them in one place."""
    return b"tally/%d" % partition
