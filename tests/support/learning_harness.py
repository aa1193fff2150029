"""Pairs, feedback, recommendations and a broker in memory for the tests of the learning stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from nacl.public import PrivateKey

from streams import topics
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord
from streams.privacy.seal import Sealer
from streams.serde.codec import local_codecs
from streams.stages.learning.rounds import Rounds
from streams.stages.learning.rules import LearningRules
from streams.stages.learning.stage import LearningStage
from streams.stages.learning.tallies import Tallies
from streams.stages.learning.trigger import TriggerRule
from streams.topics import TRAINING_CONTROL
from tests.support.at_once import at_once
from tests.support.feedback_harness import State, identity
from tests.support.stage_keys import SIGNING_KEY

CODECS = local_codecs()
HOUR_MS = 3_600_000
START_MS = 1_800_000_000_000
USER = "k1." + "a" * 32
RULES = LearningRules(TriggerRule(min_pairs=100, min_window=50), window_ms=24 * HOUR_MS, stale_ms=48 * HOUR_MS)


class NotedMetrics:
    """The last situation and the causes of requests."""

    def __init__(self) -> None:
        self.last: tuple[float, float, float, float] | None = None
        self.causes: list[str] = []

    def situation(self, new_pairs: float, stability: float, ignored_share: float, running: float) -> None:
        self.last = (new_pairs, stability, ignored_share, running)

    def requested(self, cause: str) -> None:
        self.causes.append(cause)


class Broker:
    """The two topics that every worker of the stage reads whole, each id once, as the runtime writes them; ``once`` False: as it
    would be if two workers held the same partition."""

    def __init__(self, *, once: bool = True) -> None:
        self._once = once
        self.records: dict[str, list[MemoryRecord]] = defaultdict(list)
        self._ids: set[tuple[str, bytes]] = set()

    def take(self, result: BatchResult) -> None:
        for output in result.outputs:
            if not self._once or (output.topic, output.record_id) not in self._ids:
                self._ids.add((output.topic, output.record_id))
                self.put(output.topic, output.key, output.value)

    def put(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        found = self.records[topic]
        found.append(MemoryRecord(topic, 0, len(found), 0, key, value))

    def control(self, **value: Any) -> None:
        """A record of somebody else's on the control topic."""
        whole = {"cause": "operator", "reason": "", "model_version": None, "verdict": "", "pairs": 0, **value}
        self.put(topics.TRAINING_CONTROL, whole["request_id"].encode(), CODECS.for_topic(topics.TRAINING_CONTROL).encode(whole))

    def values(self, topic: str) -> list[Any]:
        return [CODECS.for_topic(topic).decode(record.value, ()) for record in self.records[topic]]


class Worker:
    """One worker of the stage with the partitions it owns, their state given, so that another may take it over."""

    def __init__(self, broker: Broker, clock: FixedClock, states: dict[int, State], rules: LearningRules = RULES) -> None:
        self.broker, self.clock, self.states, self.metrics = broker, clock, states, NotedMetrics()
        self._listens = True
        self._read = {topics.TRAINING_TALLIES: 0, topics.TRAINING_CONTROL: 0}
        self.tallies = Tallies(CODECS.for_topic(topics.TRAINING_TALLIES))
        self.rounds = Rounds(CODECS.for_topic(topics.TRAINING_CONTROL))
        letters = DeadLetterBuilder(
            CODECS.for_topic(topics.DEAD_LETTER), Sealer(PrivateKey.generate().public_key), "learning", clock, 1000, signing_key=SIGNING_KEY
        )
        self.stage = LearningStage(
            codecs=CODECS,
            tallies=self.tallies,
            rounds=self.rounds,
            catch_up=self._catch_up,
            dead_letters=letters,
            rules=rules,
            clock=clock,
            metrics=self.metrics,
        )

    def feed(self, batch: Sequence[MemoryRecord], *, keep: bool = True) -> BatchResult:
        """``keep`` False: the worker dies before the state is written."""
        state = self.states[batch[0].partition]
        result = at_once(self.stage(batch, state))
        if keep:
            self._apply(result, state)
        return result

    def tick(self, *, listen: bool = True, keep: bool = True) -> None:
        """The timer of every partition. ``listen`` False: what was written to the control topic has not come back yet."""
        self._listens = listen
        self.follow()
        for partition, state in self.states.items():
            result = at_once(self.stage.on_timer(partition, state))
            self.broker.take(result)
            if keep:
                self._apply(result, state)

    def advance(self, milliseconds: int) -> None:
        self.clock.set(self.clock.now_ms() + milliseconds)

    def follow(self) -> None:
        for topic, apply in ((topics.TRAINING_TALLIES, self.tallies.apply), (topics.TRAINING_CONTROL, self.rounds.apply)):
            if topic == topics.TRAINING_CONTROL and not self._listens:
                continue
            apply(self.broker.records[topic][self._read[topic] :])
            self._read[topic] = len(self.broker.records[topic])

    async def _catch_up(self) -> None:
        self.follow()

    def _apply(self, result: BatchResult, state: State) -> None:
        for key, value in result.state.items():
            assert value is not None
            state.values[key] = value


def pairs(offsets: Iterable[int], partition: int = 0) -> list[MemoryRecord]:
    codec = CODECS.for_topic(topics.TRAINING_PAIRS)
    value = {"pseudonym": USER, "history": [], "item_id": "a", "outcome": "click", "reward": 0.2, "recommendation_id": None, "rank": None}
    more = {"model_version": None, "occurred_at": START_MS}
    return [
        MemoryRecord(
            topics.TRAINING_PAIRS, partition, offset, 0, USER.encode(), codec.encode({"pair_id": identity(offset), **value, **more})
        )
        for offset in offsets
    ]


def recommendation(offset: int, scores: Sequence[float], at_ms: int, version: str = "m", partition: int = 0) -> MemoryRecord:
    items = [{"item_id": f"i{n}", "rank": n, "score": score, "cosine": 0.5, "prior": 0.0, "reasons": []} for n, score in enumerate(scores)]
    value = {
        "recommendation_id": identity("r", offset),
        "pseudonym": USER,
        "sealed_id": b"sealed",
        "policy": "behaviour",
        "trigger_event_id": identity("event", offset),
        "trigger_type": "view",
        "source_offset": offset,
        "created_at": at_ms,
        "model_version": version,
        "threshold": 0.3,
        "items": items,
    }
    encode = CODECS.for_topic(topics.RECOMMENDATIONS).encode
    return MemoryRecord(topics.RECOMMENDATIONS, partition, offset, 0, USER.encode(), encode(value))


def feedback(offset: int, outcome: str, at_ms: int, version: str = "m", partition: int = 0, also: Sequence[str] = ()) -> MemoryRecord:
    """``also``: the outcomes of the recommendation's other items, in the same record."""
    base = {"reward": 0.0, "shown": False, "delay_ms": None}
    value = {
        "feedback_id": identity("f", offset),
        "recommendation_id": identity("r", offset),
        "pseudonym": USER,
        "item_id": "a",
        "rank": 0,
        "policy": "behaviour",
        "model_version": version,
        "outcome": outcome,
        "reward": 0.0,
        "shown": outcome == "shown",
        "delay_ms": None,
        "created_at": at_ms,
        "closed_at": at_ms,
        "others": [{"item_id": f"b{n}", "rank": n + 1, "outcome": other, **base} for n, other in enumerate(also)],
    }
    return MemoryRecord(topics.FEEDBACK, partition, offset, 0, USER.encode(), CODECS.for_topic(topics.FEEDBACK).encode(value))


def control_record(identity: str, state: str, at_ms: int = START_MS, **more: Any) -> MemoryRecord:
    value = {
        "request_id": identity,
        "state": state,
        "cause": "pairs",
        "reason": "",
        "at": at_ms,
        "model_version": None,
        "verdict": "",
        "pairs": 0,
        **more,
    }
    return MemoryRecord(TRAINING_CONTROL, 0, 0, 0, identity.encode(), CODECS.for_topic(TRAINING_CONTROL).encode(value))


def heard(*records: MemoryRecord) -> Rounds:
    rounds = Rounds(CODECS.for_topic(TRAINING_CONTROL))
    rounds.apply(records)
    return rounds
