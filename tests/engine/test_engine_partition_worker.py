"""What ends a worker's process, and what only says that the partition went to another worker meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from streams.engine.checkpoint import Checkpoint
from streams.engine.partition_worker import PartitionWorker
from streams.engine.records import FetchedRun, MemoryRecord
from streams.engine.runtime import AsyncioRuntime
from streams.errors import ConfigurationError, StateDamaged


class Nowhere:
    """Fetches nothing."""

    def open(self, topic: str, partition: int, offset: int, base: int, cursor: int) -> None:
        self.cursor = cursor

    def close(self, topic: str, partition: int) -> None: ...
    def wake(self) -> None: ...


class OfTwo:
    """Stands for a checkpoint whose state another worker may have changed. Its first batch meets ``error``."""

    needs_upkeep = False

    def __init__(self, error: Exception, *, is_owner: bool) -> None:
        self.error, self.is_owner = error, is_owner
        self.is_sure, self.generation, self.sources = False, -1, ("source",)
        self.taken_over: asyncio.Queue[int] = asyncio.Queue()

    async def take_over(self, topics: tuple[str, ...], generation: int) -> None:
        self.generation, self.is_sure = generation, True
        self.taken_over.put_nowait(generation)

    async def compute(self, batch: object) -> None:
        raise self.error

    def distrust(self) -> None:
        self.is_sure = False

    def next_offset(self, topic: str) -> int:
        return 0

    def base(self, topic: str) -> int:
        return 0

    def rewind(self, topic: str) -> None: ...


@pytest.mark.parametrize("error", [StateDamaged("gone"), ConfigurationError("no key"), KeyError("x")])
@pytest.mark.parametrize("is_owner", [True, False])
async def test_an_error_ends_the_process_only_where_the_partition_is_its_own(error: Exception, is_owner: bool) -> None:
    failures: list[BaseException] = []
    checkpoint, fetching = OfTwo(error, is_owner=is_owner), Nowhere()
    worker = PartitionWorker(
        0,
        sources=["source"],
        checkpoint=cast(Checkpoint, checkpoint),
        fetching=fetching,
        runtime=AsyncioRuntime(),
        max_records=10,
        max_bytes=1000,
        fail=failures.append,
    )
    worker.assign(["source"], 1)
    work: asyncio.Task[Any] = asyncio.create_task(worker.work())
    await checkpoint.taken_over.get()
    record = MemoryRecord("source", 0, 0, 0, b"k", b"v")
    assert worker.deliver(FetchedRun("source", 0, fetching.cursor, 0, 1, [record], 2))
    if is_owner:
        await asyncio.wait_for(work, 5)
        assert failures == [error] and checkpoint.taken_over.empty()
        return
    await asyncio.wait_for(checkpoint.taken_over.get(), 5)
    assert failures == [] and not work.done()
    assert worker.trouble.endswith(f"met {type(error).__name__}"), "what it met is not quoted: it may be another worker's"
    work.cancel()
