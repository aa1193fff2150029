"""Hands batches to the runner side by side: partitions of different numbers overlap, those of one number keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from streams.engine.faust.batch import FetchedBatch

_WAITING = 1
"""Batches of one partition number that wait while one is being applied; the next one holds the agent up."""


class Lanes:
    """One worker task a partition number. ``run`` applies a batch completely; what it raises ends everything, by ``fail``."""

    def __init__(self, run: Callable[[FetchedBatch], Awaitable[None]], fail: Callable[[BaseException], None]) -> None:
        self._run = run
        self._fail = fail
        self._queues: dict[int, asyncio.Queue[FetchedBatch]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._failed = asyncio.Event()
        self._closed = False

    async def submit(self, batch: FetchedBatch) -> None:
        """Returns when the batch is in line. Once the lanes are closed it is dropped: it is not committed, so it comes again."""
        if self._closed:
            return
        queue = self._queues.get(batch.partition)
        if queue is None:
            queue = self._queues[batch.partition] = asyncio.Queue(_WAITING)
            self._workers.append(asyncio.create_task(self._work(queue), name=f"lane {batch.partition}"))
        await queue.put(batch)

    async def idle(self, timeout_s: float) -> bool:
        """Wait until everything submitted is applied; False where that took too long, or something failed."""
        waits = [asyncio.ensure_future(queue.join()) for queue in self._queues.values()]
        everything: asyncio.Future[Any] = asyncio.gather(*waits)
        failed: asyncio.Future[Any] = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait([everything, failed], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return everything.done() and not self._failed.is_set()
        finally:
            everything.cancel()
            failed.cancel()
            await asyncio.gather(everything, failed, return_exceptions=True)

    async def finish(self, timeout_s: float) -> bool:
        """Take nothing more, and wait as ``idle`` does."""
        self._closed = True
        return await self.idle(timeout_s)

    async def stop(self) -> None:
        """Drop what is in line and interrupt what is being applied: nothing of it is committed, all of it comes again."""
        self._closed = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for queue in self._queues.values():
            _empty(queue)

    async def _work(self, queue: asyncio.Queue[FetchedBatch]) -> None:
        while True:
            batch = await queue.get()
            try:
                await self._run(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the process ends with it
                self._closed = True
                self._failed.set()
                self._fail(error)
                _empty(queue)
                return
            queue.task_done()


def _empty(queue: asyncio.Queue[FetchedBatch]) -> None:
    """Whoever waits for room in it goes on: Faust ends only when the agent has taken everything that it was given."""
    while not queue.empty():
        queue.get_nowait()
