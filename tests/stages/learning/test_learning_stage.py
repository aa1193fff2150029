"""The stage that asks for rounds: counts each record once, never asks twice, and goes on where another worker stopped."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import topics
from streams.clock import FixedClock
from streams.engine.records import MemoryRecord
from streams.stages.learning.rounds import next_request_id
from tests.support.feedback_harness import State
from tests.support.learning_harness import CODECS, HOUR_MS, RULES, START_MS, Broker, Worker, feedback, pairs, recommendation


def worker(broker: Broker | None = None, partitions: int = 1, now_ms: int = START_MS) -> Worker:
    return Worker(broker or Broker(), FixedClock(now_ms), {partition: State() for partition in range(partitions)})


def requests(broker: Broker) -> list[tuple[str, str, str]]:
    return [(value["state"], value["cause"], value["request_id"]) for value in broker.values(topics.TRAINING_CONTROL)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.booleans()), max_size=12))
def test_each_pair_counts_once_whatever_comes_again(fetches: list[tuple[int, int, bool]]) -> None:
    one = worker()
    seen = 0
    for back, count, keep in fetches:
        first = max(0, seen - back)
        one.feed(pairs(range(first, first + count)), keep=keep)
        seen = max(seen, first + count) if keep else seen
    one.tick()
    one.tick()
    assert one.tallies.position(0) == (seen if seen else -1)
    assert sum(tally["pairs"] for tally in one.tallies.tallies) == seen


def test_enough_pairs_of_all_partitions_ask_for_one_round() -> None:
    one = worker(partitions=3)
    for partition in range(3):
        one.feed(pairs(range(40), partition))
    one.tick()  # tells the tallies
    assert not one.broker.records[topics.TRAINING_CONTROL]
    one.tick(listen=True)
    one.tick(listen=False)
    one.tick()
    assert requests(one.broker) == [("requested", "pairs", next_request_id(""))]
    assert one.broker.values(topics.TRAINING_CONTROL)[0]["pairs"] == 120
    assert one.metrics.causes == ["pairs"]


def test_a_worker_that_dies_after_asking_asks_for_the_same_round_again() -> None:
    one = worker()
    one.feed(pairs(range(150)))
    one.tick()
    one.tick(keep=False)  # the request is written, its trace in the state is not
    two = Worker(one.broker, FixedClock(START_MS + HOUR_MS), one.states)
    two.tick(listen=False)  # has not heard of it either
    two.tick()
    two.tick()
    assert len(requests(one.broker)) == 1


def test_another_round_only_after_the_end_the_pause_and_new_pairs() -> None:
    one = worker()
    one.feed(pairs(range(150)))
    one.tick()
    one.tick()
    ((_, _, first),) = requests(one.broker)
    one.feed(pairs(range(150, 400)))
    one.advance(10 * HOUR_MS)
    one.tick()
    one.tick()
    assert len(requests(one.broker)) == 1, "it waits for its trainer"
    one.broker.control(request_id=first, state="started", at=one.clock.now_ms())
    one.broker.control(request_id=first, state="finished", at=one.clock.now_ms())
    one.tick()
    assert [state for state, _, _ in requests(one.broker)] == ["requested", "started", "finished", "requested"]
    assert requests(one.broker)[-1][2] == next_request_id(first)


def test_an_operators_round_counts_as_one() -> None:
    one = worker()
    one.feed(pairs(range(90)))
    one.tick()
    one.broker.control(request_id="ab" * 16, state="requested", at=START_MS)
    one.tick()
    one.feed(pairs(range(90, 180)))
    one.broker.control(request_id="ab" * 16, state="finished", at=START_MS)
    one.advance(7 * HOUR_MS)
    one.tick()
    one.tick()
    assert len(requests(one.broker)) == 2, "90 pairs since the operator's round are not enough"
    one.feed(pairs(range(180, 200)))
    one.tick()
    one.tick()
    assert requests(one.broker)[-1][:2] == ("requested", "pairs")


def test_a_round_whose_trainer_died_does_not_stop_learning_for_good() -> None:
    one = worker()
    one.feed(pairs(range(150)))
    one.tick()
    one.tick()
    first = requests(one.broker)[0][2]
    one.broker.control(request_id=first, state="started", at=START_MS)
    one.feed(pairs(range(150, 300)))
    one.advance(47 * HOUR_MS)
    one.tick()
    one.tick()
    assert len(requests(one.broker)) == 2
    one.advance(2 * HOUR_MS)
    one.tick()
    assert requests(one.broker)[-1][0] == "requested"
    assert len(requests(one.broker)) == 3


def test_a_risen_ignored_share_is_drift() -> None:
    rules = replace(RULES, trigger=replace(RULES.trigger, min_pairs=0))
    one = Worker(Broker(), FixedClock(START_MS), {0: State()}, rules)
    early = [feedback(n, "ignored" if n % 5 == 0 else "click", START_MS) for n in range(200)]
    late = [feedback(200 + n, "ignored" if n % 2 else "click", START_MS + 72 * HOUR_MS) for n in range(200)]
    one.feed(early)
    one.feed(late)
    one.tick()
    one.tick()
    assert requests(one.broker)[0][:2] == ("requested", "drift")
    assert one.metrics.last is not None
    assert one.metrics.last[2] == pytest.approx(0.5)
    assert isnan(one.metrics.last[1]), "no scores were told"


def test_a_record_that_cannot_be_read_is_dead_lettered_and_the_rest_counts() -> None:
    one = worker()
    batch = pairs(range(4))
    batch[1] = MemoryRecord(topics.TRAINING_PAIRS, 0, 1, 0, b"k", b"\x00broken")
    result = one.feed(batch)
    assert result.rejected == 1
    assert [output.topic for output in result.outputs] == [topics.DEAD_LETTER]
    one.tick()
    one.tick()
    assert one.tallies.tallies[0]["pairs"] == 3


def test_followed_topics_survive_what_is_broken_in_them() -> None:
    one = worker()
    for topic in (topics.TRAINING_TALLIES, topics.TRAINING_CONTROL):
        one.broker.put(topic, b"0", b"\x00broken")
        one.broker.put(topic, b"0", None)
    one.broker.control(request_id="ab" * 16, state="imagined", at=START_MS)
    tally = {"partition": 0, "pairs": 5, "pairs_offset": 9, "feedback_offset": 0, "recommendations_offset": 0}
    bucket = {"model_version": "m", "start": 0, "items": 1, "ignored": 0, "scores": [1, 2]}
    one.broker.put(topics.TRAINING_TALLIES, b"0", CODECS.for_topic(topics.TRAINING_TALLIES).encode({**tally, "buckets": [bucket]}))
    one.tick()
    assert (one.tallies.bad_records, one.rounds.bad_records) == (2, 3)
    assert not one.tallies.tallies
    assert one.rounds.latest is None


def test_an_older_tally_never_replaces_a_newer_one() -> None:
    one = worker()
    one.feed(pairs(range(10)))
    one.tick()
    one.feed(pairs(range(10, 20)))
    one.tick()
    one.follow()
    one.tallies.apply(one.broker.records[topics.TRAINING_TALLIES][:1])
    assert one.tallies.tallies[0]["pairs"] == 20


@given(st.lists(st.tuples(st.sampled_from([topics.FEEDBACK, topics.RECOMMENDATIONS]), st.integers(0, 9), st.booleans()), max_size=14))
@pytest.mark.slow
def test_each_outcome_and_score_counts_once_whatever_comes_again(fetches: list[tuple[str, int, bool]]) -> None:
    """A fetch is the next four records and up to nine that came before; the worker may die before its state is written."""
    one = worker()
    seen = {topics.FEEDBACK: 0, topics.RECOMMENDATIONS: 0}
    for topic, back, keep in fetches:
        offsets = range(max(0, seen[topic] - back), seen[topic] + 4)
        if topic == topics.FEEDBACK:
            batch = [feedback(n, "ignored", START_MS + n * HOUR_MS) for n in offsets]
        else:
            batch = [recommendation(n, [0.2, 0.9], START_MS + n * HOUR_MS) for n in offsets]
        one.feed(batch, keep=keep)
        seen[topic] += 4 if keep else 0
    one.tick()
    one.follow()
    buckets = [bucket for tally in one.tallies.tallies for bucket in tally["buckets"]]
    assert sum(bucket["items"] for bucket in buckets) == seen[topics.FEEDBACK]
    assert sum(sum(bucket["scores"]) for bucket in buckets) == 2 * seen[topics.RECOMMENDATIONS]


def test_outcomes_that_one_record_tells_together_all_count() -> None:
    one = worker()
    one.feed([feedback(0, "ignored", START_MS, also=["ignored", "purchase"]), feedback(1, "click", START_MS)])
    one.tick()
    one.follow()
    (bucket,) = [bucket for tally in one.tallies.tallies for bucket in tally["buckets"]]
    assert (bucket["items"], bucket["ignored"]) == (4, 2)


def test_scores_that_are_spread_otherwise_are_drift() -> None:
    rules = replace(RULES, trigger=replace(RULES.trigger, min_pairs=0))
    one = Worker(Broker(), FixedClock(START_MS), {0: State(), 1: State()}, rules)
    for partition in (0, 1):
        one.feed([recommendation(n, [0.3 + n % 10 / 50], START_MS, partition=partition) for n in range(100)])
        one.feed([recommendation(100 + n, [0.5 + n % 10 / 50], START_MS + 72 * HOUR_MS, partition=partition) for n in range(100)])
    one.tick()
    one.tick()
    assert requests(one.broker)[0][:2] == ("requested", "drift")
    assert one.metrics.last is not None
    assert one.metrics.last[1] > rules.trigger.psi
    first = requests(one.broker)[0][2]
    one.broker.control(request_id=first, state="finished", at=one.clock.now_ms())
    one.advance(100 * HOUR_MS)
    one.tick()
    assert len(requests(one.broker)) == 2, "a round that brought no new model has seen that drift"


def test_a_schedule_asks_once_an_occasion_also_where_nothing_was_ever_learnt() -> None:
    rules = replace(RULES, trigger=replace(RULES.trigger, min_pairs=0, cron="0 */12 * * *"))
    one = Worker(Broker(), FixedClock(START_MS), {0: State()}, rules)
    one.tick()
    for _ in range(4):
        one.advance(12 * HOUR_MS)
        one.tick()
        one.tick()
        open_round = requests(one.broker)[-1]
        assert open_round[:2] == ("requested", "schedule")
        one.broker.control(request_id=open_round[2], state="failed", at=one.clock.now_ms())
        one.tick()
    assert len(requests(one.broker)) == 8


def test_a_tally_is_told_when_there_is_news_only() -> None:
    one = worker(partitions=2)
    one.tick()
    assert not one.broker.records[topics.TRAINING_TALLIES]
    one.feed(pairs(range(5), 1))
    for _ in range(4):
        one.tick()
    assert [record.key for record in one.broker.records[topics.TRAINING_TALLIES]] == [b"1"]
