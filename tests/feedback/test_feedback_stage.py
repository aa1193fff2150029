"""Feedback: attribution does not depend on the order in which the two topics arrive, nor on where batches begin."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from streams import topics
from streams.clock import FixedClock
from streams.dead_letters import DeadLetterBuilder
from streams.errors import Reason
from streams.feedback.rules import FeedbackRules
from streams.feedback.stage import FeedbackStage
from streams.privacy.seal import Sealer
from streams.runtime.records import BatchResult, MemoryRecord
from streams.wire.codec import local_codecs

CODECS = local_codecs()
MINUTE = 60_000
RULES = FeedbackRules(window_ms=30 * MINUTE, lateness_ms=2 * MINUTE, idle_ms=5_000, history_size=5, settle_every_ms=MINUTE)
ANNA, BEN = "k1." + "a" * 32, "k1." + "b" * 32
END = 10_000 * MINUTE


class State:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {key: self.values[key] for key in keys if key in self.values}


def make_stage(clock: FixedClock | None = None) -> FeedbackStage:
    letters = DeadLetterBuilder(
        CODECS.for_topic(topics.DEAD_LETTER), Sealer(PrivateKey.generate().public_key), "feedback", FixedClock(0), 1000
    )
    return FeedbackStage(codecs=CODECS, dead_letters=letters, rules=RULES, clock=clock or FixedClock(0))


def identity(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def event(offset: int, user: str, kind: str, item: str | None, minute: int, **more: Any) -> MemoryRecord:
    value = {
        "event_id": identity("event", offset),
        "pseudonym": user,
        "sealed_id": b"sealed",
        "event_type": kind,
        "occurred_at": minute * MINUTE,
        "item_id": item,
        "query": None,
        "quantity": 1,
        "price_band": None,
        "currency": None,
        "country": None,
        "recommendation_id": None,
        "position": None,
        "session": None,
        "flags": [],
    } | more
    return MemoryRecord(topics.BEHAVIOUR_CLEAN, 0, offset, 0, user.encode(), CODECS.for_topic(topics.BEHAVIOUR_CLEAN).encode(value))


def recommendation(offset: int, user: str, items: list[str], minute: int, source_offset: int) -> MemoryRecord:
    value = {
        "recommendation_id": identity("recommendation", offset),
        "pseudonym": user,
        "sealed_id": b"sealed",
        "policy": "behaviour",
        "trigger_event_id": identity("event", source_offset),
        "trigger_type": "view",
        "source_offset": source_offset,
        "created_at": minute * MINUTE,
        "model_version": "m",
        "threshold": 0.3,
        "items": [{"item_id": i, "rank": n, "score": 1.0, "cosine": 1.0, "prior": 0.0, "reasons": []} for n, i in enumerate(items)],
    }
    return MemoryRecord(topics.RECOMMENDATIONS, 0, offset, 0, user.encode(), CODECS.for_topic(topics.RECOMMENDATIONS).encode(value))


def feed(stage: FeedbackStage, state: State, batches: Sequence[Sequence[MemoryRecord]]) -> list[BatchResult]:
    results = []
    for batch in batches:
        if batch:
            result = asyncio.run(stage(batch, state))
            for key, value in result.state.items():
                assert value is not None
                state.values[key] = value
            results.append(result)
    return results


def outputs(results: Sequence[BatchResult], topic: str) -> list[dict[str, Any]]:
    return [CODECS.for_topic(topic).decode(o.value) for result in results for o in result.outputs if o.topic == topic]


def outcomes(results: Sequence[BatchResult]) -> dict[tuple[str, str], str]:
    return {(f["pseudonym"], f["item_id"]): f["outcome"] for f in outputs(results, topics.FEEDBACK)}


def test_each_item_gets_its_strongest_outcome() -> None:
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [event(0, ANNA, "view", "x", 0)],
            [recommendation(0, ANNA, ["a", "b", "c", "d", "e"], 0, 0)],
            [
                event(1, ANNA, "impression", "a", 1),
                event(2, ANNA, "click", "a", 2),
                event(3, ANNA, "purchase", "a", 3),
                event(4, ANNA, "impression", "b", 3),
                event(5, ANNA, "dismiss", "c", 4),
                event(6, ANNA, "cart", "d", 40),  # after the window
                event(7, BEN, "view", "z", 100),
            ],
        ],
    )
    assert outcomes(results) == {
        (ANNA, "a"): "purchase",
        (ANNA, "b"): "shown",
        (ANNA, "c"): "dismiss",
        (ANNA, "d"): "ignored",
        (ANNA, "e"): "ignored",
    }
    bought = next(f for f in outputs(results, topics.FEEDBACK) if f["item_id"] == "a")
    assert (bought["reward"], bought["shown"], bought["delay_ms"], bought["rank"]) == (1.0, True, 3 * MINUTE, 0)
    pairs = outputs(results, topics.TRAINING_PAIRS)
    assert {p["item_id"]: p["outcome"] for p in pairs if p["recommendation_id"]} == {"a": "purchase", "b": "shown", "c": "dismiss"}
    assert [h["ref"] for h in next(p for p in pairs if p["item_id"] == "a")["history"]] == ["x"]


def test_an_interaction_that_names_another_recommendation_is_not_taken() -> None:
    stage, state = make_stage(), State()
    other = identity("another")
    results = feed(
        stage,
        state,
        [
            [recommendation(0, ANNA, ["a"], 0, 0)],
            [event(1, ANNA, "click", "a", 1, recommendation_id=other), event(2, BEN, "view", "z", 100)],
        ],
    )
    assert outcomes(results) == {(ANNA, "a"): "ignored"}


def test_a_duplicate_event_counts_once() -> None:
    stage, state = make_stage(), State()
    twice = identity("the same")
    results = feed(
        stage,
        state,
        [
            [
                event(0, ANNA, "click", "a", 0, event_id=twice),
                event(1, ANNA, "click", "a", 0, event_id=twice),
                event(2, BEN, "view", "z", 200),
            ]
        ],
    )
    assert len(outputs(results, topics.TRAINING_PAIRS)) == 1


def test_the_wall_clock_closes_what_an_idle_partition_leaves_open() -> None:
    clock = FixedClock(0)
    stage, state = make_stage(clock), State()
    feed(stage, state, [[recommendation(0, ANNA, ["a"], 0, 0)]])
    clock.set(4_000)
    assert asyncio.run(stage.on_timer(0, list(state.values.items()))).outputs == []
    clock.set(100 * MINUTE)
    result = asyncio.run(stage.on_timer(0, list(state.values.items())))
    assert outcomes([result]) == {(ANNA, "a"): "ignored"}


def test_after_a_take_over_everything_open_is_still_due() -> None:
    state = State()
    feed(make_stage(), state, [[event(0, ANNA, "view", "x", 0)], [recommendation(0, ANNA, ["a"], 0, 0)]])
    successor = make_stage()
    asyncio.run(successor.on_assigned(0, list(state.values.items())))
    results = feed(successor, state, [[event(1, BEN, "view", "z", 100)]])
    assert outcomes(results) == {(ANNA, "a"): "ignored"}


def test_a_bad_record_is_dead_lettered_beside_good_ones() -> None:
    stage, state = make_stage(), State()
    broken = MemoryRecord(topics.BEHAVIOUR_CLEAN, 0, 1, 0, ANNA.encode(), b"\x00garbage")
    stolen = event(2, ANNA, "click", "a", 0)._replace(key=BEN.encode())
    results = feed(stage, state, [[event(0, ANNA, "view", "a", 0), broken, stolen]])
    letters = outputs(results, topics.DEAD_LETTER)
    assert [letter["reason"] for letter in letters] == [Reason.UNKNOWN_SCHEMA, Reason.KEY_MISMATCH]
    assert results[0].rejected == 2
    assert ANNA.encode() in state.values


events = st.lists(
    st.tuples(
        st.sampled_from([ANNA, BEN]),
        st.sampled_from(["impression", "click", "cart", "purchase", "dismiss", "view"]),
        st.sampled_from("abcd"),
    ),
    min_size=1,
    max_size=25,
)
told = st.lists(st.tuples(st.sampled_from([ANNA, BEN]), st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)), max_size=5)


@settings(max_examples=150, deadline=None)
@given(events, told, st.lists(st.integers(1, 6), min_size=1, max_size=5), st.lists(st.booleans(), min_size=60, max_size=60))
def test_order_between_topics_and_batches_do_not_matter(
    happened: list[tuple[str, str, str]], recommended: list[tuple[str, list[str]]], sizes: list[int], events_first: list[bool]
) -> None:
    """All within the allowed lateness, so that nothing is settled before everything is there."""
    clean = [event(n, user, kind, item, n // 13) for n, (user, kind, item) in enumerate(happened)]
    made = [recommendation(n, user, items, n // 13, min(n * 3, len(clean) - 1)) for n, (user, items) in enumerate(recommended)]
    close = [event(1000, "k1." + "c" * 32, "view", "z", 5000)]

    def batches(records: list[MemoryRecord]) -> list[list[MemoryRecord]]:
        found, start, turn = [], 0, 0
        while start < len(records):
            found.append(records[start : start + sizes[turn % len(sizes)]])
            start += len(found[-1])
            turn += 1
        return found

    def result(order: list[list[MemoryRecord]]) -> tuple[list[str], list[str]]:
        state = State()
        results = feed(make_stage(), state, [*order, close])
        feedback = sorted(repr(sorted(f.items())) for f in outputs(results, topics.FEEDBACK))
        pairs = sorted(repr(sorted(p.items())) for p in outputs(results, topics.TRAINING_PAIRS) if p["item_id"] != "z")
        return feedback, pairs

    left, right = batches(clean), batches(made)
    mixed = []
    for first in events_first:
        source = left if (first and left) or not right else right
        if source:
            mixed.append(source.pop(0))
    mixed += left + right
    assert result(mixed) == result([made, clean] if made else [clean])
    told_items = {
        (f["recommendation_id"], f["item_id"]) for f in outputs(feed(make_stage(), State(), [made, clean, close]), topics.FEEDBACK)
    }
    assert len(told_items) == sum(len(items) for _, items in recommended)
