from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord, OutputRecord
from streams.ranking.popularity import DecayedCount, held_back, prior
from streams.ranking.popularity_table import PopularityTable
from streams.stages.profile.popularity_counter import PopularityCounter
from streams.topics import ITEMS_POPULARITY
from tests.support.profile_harness import CODECS, START_MS, popularity_record

HALF_LIFE_MS = 1000.0
CODEC = CODECS.for_topic(ITEMS_POPULARITY)


class Rows:
    """As much of an item matrix as the popularity table looks at."""

    def __init__(self, ids: list[str]) -> None:
        self.layout = 0
        self.ids = ids
        self.rows = {item_id: row for row, item_id in enumerate(ids) if item_id}


def popularity() -> PopularityTable:
    return PopularityTable(CODEC, HALF_LIFE_MS)


def at(tested: PopularityTable, rows: Rows, time_ms: int) -> list[float]:
    return tested.counts(rows, tested.cell(time_ms)).tolist()


@given(st.lists(st.tuples(st.integers(0, 50_000), st.floats(0.01, 3)), min_size=1, max_size=30))
def test_a_count_is_the_sum_of_decayed_events(events: list[tuple[int, float]]) -> None:
    count = DecayedCount(0.0, events[0][0], -1)
    for offset, (time_ms, weight) in enumerate(events):
        count = count.plus(weight, time_ms, offset, HALF_LIFE_MS)
    newest = max(time_ms for time_ms, _ in events)
    assert (count.as_of_ms, count.source_offset) == (newest, len(events) - 1)
    assert count.value == pytest.approx(sum(weight * 2 ** (-(newest - time_ms) / HALF_LIFE_MS) for time_ms, weight in events))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 30_000), st.floats(0, 50), st.integers(0, 20)), max_size=40
    ),
    st.integers(30_000, 60_000),
    st.integers(0, 99),
)
def test_partitions_add_up_whatever_the_order_of_reading(parts: list[tuple[str, int, int, float, int]], now: int, seed: int) -> None:
    # One value per item, partition and offset, as in the topic.
    unique = {(item, partition, offset): (time_ms, value) for item, partition, time_ms, value, offset in parts}
    records = [popularity_record(i, v, START_MS + t, o, p) for (i, p, o), (t, v) in unique.items()]
    shuffled = records + random.Random(seed).sample(records, len(records))
    rows = Rows(["b", "", "a", "z", "c"])
    one, other = popularity(), popularity()
    one.apply(records)
    at(other, rows, START_MS)  # evaluated in between: the aligned counts are kept up to date
    for record in shuffled:
        other.apply([record])
        at(other, rows, START_MS)
    last: dict[tuple[str, int], int] = {}
    for item, partition, offset in unique:
        last[item, partition] = max(offset, last.get((item, partition), -1))
    newest = max((START_MS + t for (t, _) in unique.values()), default=0)
    when = max(START_MS + now, newest)
    for place, item in enumerate(rows.ids):
        expected = 0.0
        for (name, partition), offset in last.items():
            if name == item:
                time_ms, value = unique[item, partition, offset]
                expected += value * 2 ** (-(when - START_MS - time_ms) / HALF_LIFE_MS)
        assert at(one, rows, START_MS + now)[place] == pytest.approx(expected, rel=2e-3, abs=1e-12)
    assert at(one, rows, START_MS + now) == pytest.approx(at(other, rows, START_MS + now), rel=1e-9)


def test_counts_follow_the_rows_when_they_change_hands() -> None:
    tested, rows = popularity(), Rows(["a", "b"])
    tested.apply(
        [popularity_record("a", 1.0, START_MS, 0), popularity_record("b", 2.0, START_MS, 1), popularity_record("c", 3.0, START_MS, 2)]
    )
    assert at(tested, rows, START_MS) == pytest.approx([1.0, 2.0], rel=2e-3)
    rows.ids, rows.rows, rows.layout = ["c", "b", "a"], {"c": 0, "b": 1, "a": 2}, 1
    assert at(tested, rows, START_MS) == pytest.approx([3.0, 2.0, 1.0], rel=2e-3)


def test_a_time_before_the_newest_count_does_not_inflate_it() -> None:
    tested, rows = popularity(), Rows(["a"])
    tested.apply([popularity_record("a", 5.0, START_MS, 0)])
    assert at(tested, rows, START_MS - 10**9) == pytest.approx([5.0], rel=2e-3)


def test_a_decade_of_short_half_lives_neither_overflows_nor_forgets_the_new() -> None:
    tested, rows = popularity(), Rows(["old", "new"])
    tested.apply([popularity_record("old", 9.0, START_MS, 0)])
    later = START_MS + 315_360_000_000
    tested.apply([popularity_record("new", 2.0, later, 1)])
    assert at(tested, rows, later) == pytest.approx([0.0, 2.0], rel=2e-3)
    tested.apply([popularity_record("old", 1.0, START_MS + 5, 2)])
    assert at(tested, rows, later + 1000) == pytest.approx([0.0, 1.0], rel=2e-3)


def test_bad_records_are_counted_and_change_nothing() -> None:
    tested, rows = popularity(), Rows(["a"])
    good = popularity_record("a", 1.0, START_MS, 5)
    bad = [good._replace(value=b"garbage"), *(popularity_record("a", v, START_MS, 9) for v in (-1.0, float("nan"), float("inf")))]
    tested.apply([good, *bad, good._replace(value=None, key=b"\xff"), good._replace(value=None, key=None)])
    assert tested.bad_records == len(bad)
    assert at(tested, rows, START_MS) == pytest.approx([1.0], rel=2e-3)


def test_a_record_without_value_removes_the_item_of_its_partition() -> None:
    tested, rows = popularity(), Rows(["a"])
    tested.apply([popularity_record("a", 1.0, START_MS, 5, 0), popularity_record("a", 2.0, START_MS, 6, 1)])
    assert at(tested, rows, START_MS) == pytest.approx([3.0], rel=2e-3)
    tested.apply([popularity_record("a", 1.0, START_MS, 5, 0)._replace(value=None)])
    assert at(tested, rows, START_MS) == pytest.approx([2.0], rel=2e-3) and list(tested.of(1)) == ["a"]


def test_the_prior_grows_with_the_logarithm() -> None:
    assert prior(np.array([0.0, np.e - 1]), 0.2).tolist() == pytest.approx([0.0, 0.2])
    assert prior(np.zeros((2, 3)), 0.2).dtype == np.float32


class Partition:
    """A partition's events, counted in batches by one worker after another."""

    def __init__(self, events: list[tuple[str, int, float]]) -> None:
        self.events = events
        self.topic: list[MemoryRecord] = []
        self.take_over()

    def take_over(self) -> None:
        self.popularity = popularity()
        self.popularity.apply(self.topic)
        self.counter = PopularityCounter(CODEC, self.popularity, HALF_LIFE_MS)

    def count(self, first: int, end: int) -> list[OutputRecord]:
        tally = self.counter.begin(4, first)
        for offset in range(first, end):
            item, time_ms, weight = self.events[offset]
            tally.add(item, (weight, weight, weight, weight), time_ms, offset)
        return self.counter.end(tally, end - 1)

    def publish(self, outputs: list[OutputRecord]) -> None:
        self.topic += [MemoryRecord(o.topic, o.partition or 0, 0, 0, o.key, o.value) for o in outputs]

    def last(self) -> dict[str, tuple[float, int, int]]:
        values = [CODEC.decode(record.value) for record in self.topic]
        return {v["item_id"]: (v["count"], v["as_of"], v["source_offset"]) for v in values}


events_of = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9000), st.sampled_from((0.05, 0.3, 1.0))), min_size=1, max_size=30)


@settings(max_examples=80, deadline=None)
@given(events_of, st.data())
def test_every_event_is_counted_once_whatever_fails(events: list[tuple[str, int, float]], data: st.DataObject) -> None:
    whole = Partition(events)
    whole.publish(whole.count(0, len(events)))
    tested, done = Partition(events), 0
    for _ in range(60):
        if done == len(events):
            break
        end = data.draw(st.integers(done + 1, len(events)), label="end of batch")
        outputs = tested.count(done, end)
        fate = data.draw(st.sampled_from(("done", "done, not read back", "not written", "crash", "torn, crash")), label="fate")
        if fate == "not written":
            continue  # the same or another batch from the same offset follows
        kept = outputs[: data.draw(st.integers(0, len(outputs)), label="written")] if fate == "torn, crash" else outputs
        tested.publish(kept)
        if fate.startswith("done"):
            done = end
            if fate == "done":
                tested.popularity.apply(tested.topic)
        else:
            tested.take_over()
    else:
        tested.take_over()
        tested.publish(tested.count(done, len(events)))
    assert tested.last() == whole.last()


def test_a_batch_that_comes_again_has_the_same_ids() -> None:
    tested = Partition([("a", 0, 1.0), ("b", 5, 1.0), ("a", 9, 1.0)])
    first, again = tested.count(0, 3), tested.count(0, 3)
    assert first == again
    assert len({output.record_id for output in first}) == 2
    assert {len(output.record_id) for output in first} == {16}
    assert {output.partition for output in first} == {4}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=150), st.integers(0, 12), st.data())
def test_made_up_items_are_bounded_and_the_catalogue_is_exact(items: list[int], most: int, data: st.DataObject) -> None:
    catalogue = {f"i{number}": number for number in range(5)}
    events = [(f"i{number}", 10 * offset, 1.0) for offset, number in enumerate(items)]
    whole, tested = Partition(events), Partition(events)
    whole.publish(whole.count(0, len(events)))
    done = 0
    while done < len(events):
        end = min(len(events), done + data.draw(st.integers(1, 20), label="batch"))
        tally = tested.counter.begin(4, done)
        for offset in range(done, end):
            item, time_ms, weight = events[offset]
            tally.add(item, (weight, weight, weight, weight), time_ms, offset)
        outputs = tested.counter.end(tally, end - 1)
        removals = tested.counter.removals(tally, catalogue, most)
        assert not {o.key for o in removals} & {o.key for o in outputs}, "what has just happened stays"
        assert not {(o.key or b"").decode() for o in removals} & catalogue.keys()
        tested.publish([*outputs, *removals])
        done = end
        if data.draw(st.booleans(), label="read back"):
            tested.popularity.apply(tested.topic)
        elif data.draw(st.booleans(), label="taken over"):
            tested.take_over()
    tested.take_over()
    kept = tested.popularity.of(4)
    expected = whole.last()
    assert all(kept[item].value == expected[item][0] for item in catalogue if item in expected)
    for _ in range(2):  # what was not read back in time is removed by the next batch
        tested.publish(tested.counter.removals(tested.counter.begin(4, done), catalogue, most))
        tested.take_over()
    assert len(tested.popularity.of(4)) <= len(catalogue) + most
    if len(set(items)) <= most:
        assert all(kept[item].value == expected[item][0] for item in expected)


def with_newcomers(item: str, count: float, newcomers: float, offset: int, at_ms: int = START_MS) -> MemoryRecord:
    plain = popularity_record(item, count, at_ms, offset)
    value = CODEC.decode(plain.value)
    return plain._replace(value=CODEC.encode({**value, "newcomers": newcomers}))


def test_what_only_newcomers_turn_to_is_held_back() -> None:
    tested, rows = popularity(), Rows(["liked", "pushed", "new"])
    tested.apply([with_newcomers("liked", 40.0, 10.0, 0), with_newcomers("pushed", 50.0, 50.0, 1), with_newcomers("new", 1.0, 1.0, 2)])
    usual = 61 / 30
    liked, pushed, new = at(tested, rows, START_MS)
    assert (liked, pushed, new) == pytest.approx((40.0, 3 * usual + 0.5, 1.0), rel=0.02)
    # Shoppers who were there before turn to it: now it counts.
    tested.apply([with_newcomers("pushed", 80.0, 50.0, 3)])
    assert at(tested, rows, START_MS)[1] == pytest.approx(80.0, rel=2e-3)


def test_in_a_shop_of_newcomers_nothing_is_held_back() -> None:
    tested, rows = popularity(), Rows(["a", "b"])
    tested.apply([with_newcomers("a", 40.0, 40.0, 0), with_newcomers("b", 2.0, 2.0, 1)])
    assert at(tested, rows, START_MS) == pytest.approx([40.0, 2.0], rel=2e-3)
    # The first who comes back changes little.
    tested.apply([with_newcomers("b", 3.0, 2.0, 2)])
    assert at(tested, rows, START_MS) == pytest.approx([40.0, 3.0], rel=2e-3)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=1, max_size=20), st.floats(0, 100) | st.just(float("inf")))
def test_what_is_held_back_is_only_newcomers_part(pairs: list[tuple[float, float]], usual: float) -> None:
    counts = np.array([count for count, _ in pairs])
    newcomers = counts * np.array([share for _, share in pairs])
    held = held_back(counts, newcomers, usual)
    assert (held <= counts + 1e-9).all() and (held >= counts - newcomers - 1e-9).all()
    more = held_back(counts + 1.0, newcomers, usual)
    assert (more >= held).all(), "who was there before only adds"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9000), st.sampled_from((0.05, 0.3, 1.0)), st.booleans()), min_size=1, max_size=30))
def test_newcomers_part_decays_as_the_count_does(events: list[tuple[int, float, bool]]) -> None:
    count, part = DecayedCount(0.0, events[0][0], -1), DecayedCount(0.0, events[0][0], -1)
    for offset, (time_ms, weight, is_newcomer) in enumerate(events):
        count = count.plus(weight, time_ms, offset, HALF_LIFE_MS, is_newcomer=is_newcomer)
        part = part.plus(weight if is_newcomer else 0.0, time_ms, offset, HALF_LIFE_MS)
    assert count.newcomers == pytest.approx(part.value) and count.newcomers <= count.value + 1e-9
    if all(is_newcomer for _, _, is_newcomer in events):
        assert count.newcomers == count.value, "to the last bit: else others would seem to be there"
