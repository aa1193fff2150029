"""``training.pairs``, ``feedback`` and ``recommendations`` to ``training.tallies``, and those to requests on ``training.control``.

Every partition counts for itself and tells its tally; the owner of partition 0 decides over all of them (docs/decisions/0008).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import nan
from typing import Any, Literal, Protocol, cast

import msgspec

from streams.clock import Clock
from streams.errors import RecordError
from streams.learning.board import TallyBoard
from streams.learning.drift import population_stability
from streams.learning.rounds import Rounds, next_request_id
from streams.learning.rules import LearningRules
from streams.learning.tally import add_feedback, add_recommendations, empty_tally, newest_ms, position, windows
from streams.learning.trigger import Decision, Situation, decide
from streams.runtime.ports import DeadLetters, TopicCodecs
from streams.runtime.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.topics import FEEDBACK, RECOMMENDATIONS, TRAINING_CONTROL, TRAINING_PAIRS, TRAINING_TALLIES
from streams.wire.records import TrainingControl, TrainingTally

__all__ = ["LearningRules", "LearningStage"]

DECIDES = 0
"""The partition whose owner decides."""
_SINCE_KEY = b"since"
_READ = {
    TRAINING_PAIRS: ("pair_id",),
    FEEDBACK: ("model_version", "outcome", "created_at"),
    RECOMMENDATIONS: ("model_version", "created_at", "items.score"),
}
_OFFSETS: dict[str, Literal["pairs_offset", "feedback_offset", "recommendations_offset"]] = {
    TRAINING_PAIRS: "pairs_offset",
    FEEDBACK: "feedback_offset",
    RECOMMENDATIONS: "recommendations_offset",
}


class Since(msgspec.Struct, frozen=True, array_like=True):
    """What new is counted from; in the table of the partition that decides."""

    at_ms: int
    """Real time of the last request; before the first, when the counting began."""
    request_id: str = ""
    pairs: int = 0
    """Pairs of all partitions at the last request."""
    event_ms: int = 0
    """Event time from which on the reference window may begin: a round that brought no new model has seen what was before."""


class Told(Protocol):
    """The metrics of the trigger."""

    def unknown(self) -> None: ...
    def situation(self, new_pairs: float, stability: float, ignored_share: float, running: float) -> None: ...
    def requested(self, cause: str) -> None: ...


class LearningStage:
    """The stage's BatchHandler, for batches of each source, and its timer."""

    unprompted: Literal[True] = True

    def __init__(
        self,
        *,
        codecs: TopicCodecs,
        board: TallyBoard,
        rounds: Rounds,
        dead_letters: DeadLetters,
        rules: LearningRules,
        clock: Clock,
        told: Told,
    ) -> None:
        self._readers = {topic: codecs.reading(topic, only) for topic, only in _READ.items()}
        self._tally = codecs.for_topic(TRAINING_TALLIES)
        self._control = codecs.for_topic(TRAINING_CONTROL)
        self._board = board
        self._rounds = rounds
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock
        self._told = told
        self._last_asked = ""

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        source = next(topic for topic in _READ if batch[0].topic.endswith(topic))
        partition = batch[0].partition
        key = _tally_key(partition)
        stored = state.get_many([key]).get(key)
        tally = empty_tally(partition) if stored is None else self._load(stored)
        offset = _OFFSETS[source]
        result = BatchResult()
        # What is in the tally already was counted before a crash.
        values = self._decode(source, [record for record in batch if record.offset > tally[offset]], result)
        if source == TRAINING_PAIRS:
            tally["pairs"] += len(values)
        elif source == FEEDBACK:
            add_feedback(tally, values, self._rules.bucket_ms)
        else:
            add_recommendations(tally, values, self._rules.bucket_ms)
        tally[offset] = max(tally[offset], batch[-1].offset)
        result.state[key] = self._tally.encode(tally)
        return result

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Who is assigned something may have lost something else."""
        self._told.unknown()

    async def on_timer(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> BatchResult:
        """Tell the partition's tally if it has news; on the partition that decides, ask for a round if there is cause."""
        key = _tally_key(partition)
        stored = {name: value for name, value in items if name in (key, _SINCE_KEY)}
        result = BatchResult()
        if key in stored:
            reached = position(self._load(stored[key]))
            if reached > self._board.position(partition):
                identity = blake2b(f"{partition}/{reached}".encode(), digest_size=16, person=b"vs.tally").digest()
                result.outputs.append(OutputRecord(TRAINING_TALLIES, str(partition).encode(), stored[key], identity))
        if partition == DECIDES:
            self._decide(stored.get(_SINCE_KEY), result)
        return result

    def _decide(self, stored: bytes | None, result: BatchResult) -> None:
        now_ms, tallies = self._clock.now_ms(), self._board.tallies
        pairs, after_ms = sum(tally["pairs"] for tally in tallies), newest_ms(tallies) + self._rules.bucket_ms
        known = None if stored is None else msgspec.msgpack.decode(stored, type=Since)
        since = known or Since(now_ms)
        latest = self._rounds.latest
        # A request of one's own may not have come back yet; after long it has passed out of the topic.
        awaited = since.request_id != "" and since.request_id not in self._rounds and now_ms - since.at_ms < self._rules.stale_ms
        if latest is not None and latest.request_id != since.request_id and not awaited:
            since = Since(min(latest.asked_ms, now_ms), latest.request_id, pairs, after_ms)
        situation = self._situation(since, tallies, pairs, awaited or self._rounds.is_open(now_ms, self._rules.stale_ms), now_ms)
        decision = decide(situation, self._rules.trigger)
        self._tell(situation)
        if decision.start:
            request = _request(decision, next_request_id(since.request_id), situation)
            identity = request["request_id"]
            if identity != self._last_asked:
                self._told.requested(request["cause"])
                self._last_asked = identity
            value = self._control.encode(request)
            result.outputs.append(OutputRecord(TRAINING_CONTROL, identity.encode(), value, bytes.fromhex(identity)))
            since = Since(now_ms, identity, pairs, after_ms)
        if since != known:
            result.state[_SINCE_KEY] = msgspec.msgpack.encode(since)

    def _situation(self, since: Since, tallies: Sequence[TrainingTally], pairs: int, running: bool, now_ms: int) -> Situation:
        seen = windows(tallies, since.event_ms, self._rules.window_ms, self._rules.bucket_ms)
        return Situation(
            now_ms=now_ms,
            since_ms=since.at_ms,
            started_before=since.request_id != "",
            running=running,
            new_pairs=pairs - since.pairs,
            reference_scores=seen.reference_scores,
            recent_scores=seen.recent_scores,
            reference_shown=seen.reference_shown,
            recent_shown=seen.recent_shown,
        )

    def _tell(self, now: Situation) -> None:
        enough = min(sum(now.reference_scores), sum(now.recent_scores)) >= self._rules.trigger.min_window
        stability = population_stability(now.reference_scores, now.recent_scores) if enough else nan
        shown = now.recent_shown
        self._told.situation(now.new_pairs, stability, shown.ignored / shown.items if shown.items else nan, now.running)

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

    def _load(self, stored: bytes) -> TrainingTally:
        return cast(TrainingTally, self._tally.decode(stored))


def _tally_key(partition: int) -> bytes:
    """With the partition in it: Faust's memory store keeps all of them in one place."""
    return b"tally/%d" % partition


def _request(decision: Decision, request_id: str, now: Situation) -> TrainingControl:
    return TrainingControl(
        request_id=request_id,
        state="requested",
        cause=decision.cause or "",
        reason=decision.reason,
        at=now.now_ms,
        model_version=None,
        verdict="",
        pairs=now.new_pairs,
    )
