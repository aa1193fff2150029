"""The queue of a partition against a plain list: whatever is fetched, however it is cut, records come out once and in order."""

from __future__ import annotations

import doctest
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.engine import queues as module
from streams.engine.queues import PartitionQueue
from streams.engine.records import FetchedRun, MemoryRecord, UnreadableRecord

MOST_RECORDS, MOST_BYTES = 7, 100


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def record(offset: int, last: int | None = None) -> Any:
    if last is not None:
        return UnreadableRecord("t", 0, offset, last, 0, None, None, (), "damaged")
    return MemoryRecord("t", 0, offset, 10 * offset, None, b"")


def run(cursor: int, begins: int, offsets: list[Any], ends: int, size: int) -> FetchedRun:
    return FetchedRun("t", 0, cursor, begins, ends, offsets, size)


class QueueAgainstAList(RuleBasedStateMachine):
    @initialize(offset=st.integers(0, 50))
    def begin(self, offset: int) -> None:
        self.queue = PartitionQueue(MOST_RECORDS, MOST_BYTES)
        self.cursor = self.queue.open(offset)
        self.fetched = self.taken = offset
        self.waiting: list[Any] = []

    @rule(count=st.integers(0, 9), hole_before=st.integers(0, 2), hole_after=st.integers(0, 2), size=st.integers(1, 150), data=st.data())
    def fetch(self, count: int, hole_before: int, hole_after: int, size: int, data: st.DataObject) -> None:
        at = self.fetched + hole_before
        records = []
        for _ in range(count):
            length = data.draw(st.sampled_from([1, 1, 1, 3]))
            records.append(record(at) if length == 1 else record(at, at + length - 1))
            at += length
        at += hole_after
        if at == self.fetched:
            return
        assert self.queue.add(run(self.cursor, self.fetched, records, at, size))
        self.fetched = at
        self.waiting += records

    @rule(gap=st.integers(-5, 5).filter(bool))
    def fetch_something_that_does_not_follow(self, gap: int) -> None:
        at = self.fetched + gap
        assert not self.queue.add(run(self.cursor, at, [record(at)], at + 1, 10))

    @rule(age=st.integers(1, 3))
    def an_answer_for_an_older_cursor_comes(self, age: int) -> None:
        assert not self.queue.add(run(self.cursor - age, self.fetched, [record(self.fetched)], self.fetched + 1, 10))

    @rule(most=st.none() | st.integers(1, 9))
    def take(self, most: int | None) -> None:
        batch = self.queue.take(most)
        if batch is None:
            assert not self.waiting and self.taken == self.fetched
            return
        assert batch.begins == self.taken < batch.ends
        assert len(batch.records) <= min(MOST_RECORDS, most or MOST_RECORDS)
        assert batch.records == self.waiting[: len(batch.records)]
        del self.waiting[: len(batch.records)]
        for each in batch.records:
            assert batch.begins <= each.offset and getattr(each, "last_offset", each.offset) < batch.ends
        if self.waiting:
            assert batch.ends <= self.waiting[0].offset
        self.taken = batch.ends

    @precondition(lambda self: self.fetched > 0)
    @rule(offset=st.integers(0, 80))
    def open_elsewhere(self, offset: int) -> None:
        self.cursor = self.queue.open(offset)
        self.fetched = self.taken = offset
        self.waiting = []

    @invariant()
    def tells_the_truth(self) -> None:
        assert self.queue.ends == self.fetched
        assert self.queue.is_empty == (self.taken == self.fetched)
        assert self.queue.oldest_ms == (self.waiting[0].timestamp if self.waiting else None)
        if len(self.waiting) >= 2 * MOST_RECORDS:
            assert not self.queue.has_room
        if self.queue.is_empty:
            assert self.queue.has_room


TestQueueAgainstAList = QueueAgainstAList.TestCase


def test_a_run_larger_than_the_bound_is_taken_since_it_is_in_memory_already() -> None:
    queue = PartitionQueue(MOST_RECORDS, MOST_BYTES)
    cursor = queue.open(0)
    queue.add(run(cursor, 0, [record(0)], 1, 10 * MOST_BYTES))
    assert not queue.has_room
    batch = queue.take()
    assert batch is not None and len(batch.records) == 1
    assert queue.has_room


def test_what_is_under_way_when_a_queue_is_closed_is_nobodys() -> None:
    queue = PartitionQueue(MOST_RECORDS, MOST_BYTES)
    cursor = queue.open(5)
    queue.close()
    assert not queue.add(run(cursor, 5, [record(5)], 6, 10))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_many_small_runs_become_few_batches(counts: list[int]) -> None:
    queue = PartitionQueue(MOST_RECORDS, 1 << 30)
    cursor, at = queue.open(0), 0
    for count in counts:
        queue.add(run(cursor, at, [record(at + n) for n in range(count)], at + count, count))
        at += count
    sizes = []
    while (batch := queue.take()) is not None:
        sizes.append(len(batch.records))
    assert sizes[:-1] == [MOST_RECORDS] * (len(sizes) - 1) and sum(sizes) == sum(counts)
