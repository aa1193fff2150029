from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams.engine.faust.batch import FetchedBatch
from streams.engine.lanes import Lanes

from streams.engine.records import MemoryRecord


def batch(partition: int, offset: int, topic: str = "t") -> FetchedBatch:
    return FetchedBatch(topic, partition, [MemoryRecord(topic, partition, offset, 0, None, b"")], 1, offset)


class Runs:
    """Notes what it was given, and how many at once."""

    def __init__(self, *, gate: asyncio.Event | None = None) -> None:
        self.gate = gate
        self.seen: defaultdict[int, list[int]] = defaultdict(list)
        self.at_once: defaultdict[int, int] = defaultdict(int)
        self.most_lanes = 0

    async def __call__(self, batch: FetchedBatch) -> None:
        self.at_once[batch.partition] += 1
        assert self.at_once[batch.partition] == 1, "two batches of one partition at once"
        self.most_lanes = max(self.most_lanes, sum(self.at_once.values()))
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        if batch.topic == "broken":
            raise RuntimeError("no")
        self.seen[batch.partition].append(batch.records[0].offset)
        self.at_once[batch.partition] -= 1


def refuse(error: BaseException) -> None:
    raise AssertionError(error)


@given(st.lists(st.integers(0, 3), max_size=40))
def test_each_partition_keeps_its_order(partitions: list[int]) -> None:
    async def run() -> Runs:
        runs = Runs()
        lanes = Lanes(runs, refuse)
        for offset, partition in enumerate(partitions):
            await lanes.submit(batch(partition, offset))
        assert await lanes.idle(5)
        await lanes.stop()
        return runs

    seen = asyncio.run(run()).seen
    assert seen == {p: [n for n, q in enumerate(partitions) if q == p] for p in set(partitions)}


def test_partitions_overlap_and_a_full_lane_holds_the_agent_up() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        runs = Runs(gate=gate)
        lanes = Lanes(runs, refuse)
        await lanes.submit(batch(0, 0))
        await lanes.submit(batch(1, 0))
        await asyncio.sleep(0)
        assert runs.most_lanes == 2
        await lanes.submit(batch(0, 1))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lanes.submit(batch(0, 2)), 0.05)
        assert not await lanes.idle(0.05)
        gate.set()
        assert await lanes.idle(5)
        await lanes.stop()

    asyncio.run(run())


def test_a_failure_is_told_once_and_nothing_is_idle_after_it() -> None:
    async def run() -> None:
        told: list[BaseException] = []
        lanes = Lanes(Runs(), told.append)
        await lanes.submit(batch(0, 0, "broken"))
        await lanes.submit(batch(0, 1))
        assert not await lanes.idle(5)
        assert [str(error) for error in told] == ["no"]
        await lanes.stop()

    asyncio.run(run())


def test_finish_takes_nothing_more() -> None:
    async def run() -> None:
        runs = Runs()
        lanes = Lanes(runs, refuse)
        await lanes.submit(batch(0, 0))
        assert await lanes.finish(5)
        for offset in range(1, 9):  # the agent is not held up: Faust waits for it
            await asyncio.wait_for(lanes.submit(batch(0, offset)), 5)
        assert runs.seen == {0: [0]}
        await lanes.stop()

    asyncio.run(run())


@pytest.mark.parametrize("ends", ["fails", "is stopped"])
def test_whoever_waits_for_a_lane_that_ends_goes_on(ends: str) -> None:
    async def run() -> None:
        gate, told = asyncio.Event(), list[BaseException]()
        lanes = Lanes(Runs(gate=gate), told.append)
        await lanes.submit(batch(0, 0, "broken"))
        await asyncio.sleep(0)
        await lanes.submit(batch(0, 1))
        waiting = asyncio.create_task(lanes.submit(batch(0, 2)))
        await asyncio.sleep(0)
        assert not waiting.done()
        if ends == "fails":
            gate.set()
        else:
            await lanes.stop()
        await asyncio.wait_for(waiting, 5)
        assert len(told) == (ends == "fails")
        await lanes.stop()

    asyncio.run(run())


def test_stop_interrupts_what_is_under_way() -> None:
    async def run() -> None:
        runs = Runs(gate=asyncio.Event())
        lanes = Lanes(runs, refuse)
        await lanes.submit(batch(0, 0))
        await asyncio.sleep(0)
        await lanes.stop()
        assert runs.seen == {}

    asyncio.run(run())
