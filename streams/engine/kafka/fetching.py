"""Fetches the records of the source partitions that this worker owns, and puts them into the partitions' queues.

One request per broker is in progress at a time. It covers every partition whose queue has room. Its answer goes to the queues at once, so
the next request covers all partitions again. A partition that is full or has an error is left out, and delays no other.

A process under pressure gathers: after an answer it waits a little before the next request (``gathering``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from streams.backoff import Backoff
from streams.engine.kafka.batches import DEFAULT_LIMITS, BatchLimits
from streams.engine.kafka.client import BrokerClient, name_of
from streams.engine.kafka.gathering import Pressure, gather_s
from streams.engine.kafka.reading import Fetched, fetch, records_of
from streams.engine.records import FetchedRun
from streams.errors import TransientError

log = logging.getLogger(__name__)

_BACKOFF_S = (0.1, 2.0)
_PARTITION_BYTES = 4 * 1_048_576
_UNWATCHED_S = 1.0
"""A partition that was not fetched for this time may belong to a recreated topic. A fetch does not show this."""
_FULL_BYTES = 262_144
"""So much at once, and there is more: no need to gather."""


@dataclass(slots=True)
class _Cursor:
    topic: str
    partition: int
    offset: int
    base: int
    number: int
    node: int | None = None
    not_before: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(*_BACKOFF_S))
    troubled_since: float | None = None
    trouble: str = ""
    end: int = -1
    answered_at: float = 0.0
    """Before the first answer: when it was opened, for then the topic was looked at."""
    asked_at: float = 0.0


class SourceFetcher:
    """A Fetching. After a small run of a partition, records are gathered for ``linger_ms``.

    - ``deliver`` gets each run, and may refuse it.
    - ``has_room`` is asked before a partition is fetched.
    - ``questionable`` is called if a partition's answer looks as if the topic was recreated, truncated, or cut by retention. Its
      owner then finds out which.
    """

    def __init__(
        self,
        client: BrokerClient,
        *,
        max_wait_ms: int,
        linger_ms: int = 0,
        limits: BatchLimits = DEFAULT_LIMITS,
        deliver: Callable[[FetchedRun], object],
        has_room: Callable[[str, int], bool],
        questionable: Callable[[str, int], None],
    ) -> None:
        self._client = client
        self._max_wait_ms = max_wait_ms
        self._linger_s = linger_ms / 1000
        self._limits = limits
        self._deliver = deliver
        self._has_room = has_room
        self._questionable = questionable
        self._cursors: dict[tuple[str, int], _Cursor] = {}
        self._wake = asyncio.Event()
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._pressure = Pressure()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="fetch")

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._in_flight.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def failure(self) -> BaseException | None:
        """What ended it, if anything did."""
        task = self._task
        return None if task is None or not task.done() or task.cancelled() else task.exception()

    def open(self, topic: str, partition: int, offset: int, base: int, cursor: int) -> None:
        now = asyncio.get_running_loop().time()
        self._cursors[(topic, partition)] = _Cursor(topic, partition, offset, base, cursor, answered_at=now)
        self._wake.set()

    def close(self, topic: str, partition: int) -> None:
        self._cursors.pop((topic, partition), None)

    def wake(self) -> None:
        self._wake.set()

    def end(self, topic: str, partition: int) -> int | None:
        """The last stable offset that the broker has reported, counted as the topic counts."""
        cursor = self._cursors.get((topic, partition))
        return None if cursor is None or cursor.end < 0 else cursor.end

    def position(self, topic: str, partition: int) -> int | None:
        """What is fetched next, as the topic counts."""
        cursor = self._cursors.get((topic, partition))
        return None if cursor is None else cursor.offset

    def troubles(self) -> list[tuple[str, int, str, float]]:
        """Topic, partition, what, and since when (loop time), of what can't be fetched now."""
        return [(c.topic, c.partition, c.trouble, c.troubled_since) for c in self._cursors.values() if c.troubled_since is not None]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            now, next_try = loop.time(), 1.0
            wanted: dict[int, list[_Cursor]] = {}
            for cursor in list(self._cursors.values()):
                if cursor.not_before > now:
                    next_try = min(next_try, cursor.not_before - now)
                elif self._has_room(cursor.topic, cursor.partition):
                    try:
                        node = await self._client.leader(cursor.topic, cursor.partition)
                    except TransientError as error:
                        self._troubled(cursor, str(error))
                        continue
                    if node not in self._in_flight:
                        wanted.setdefault(node, []).append(cursor)
            for node, cursors in wanted.items():
                task = asyncio.create_task(self._fetch(node, cursors), name=f"fetch from {node}")
                self._in_flight[node] = task
                task.add_done_callback(lambda _, node=node: self._landed(node))  # type: ignore[misc]
            try:
                async with asyncio.timeout(next_try):
                    await self._wake.wait()
            except TimeoutError:
                pass  # the pause of a failed partition is over, or there is nothing new

    def _landed(self, node: int) -> None:
        task = self._in_flight.pop(node, None)
        if task is not None and not task.cancelled() and task.exception() is not None and self._task is not None:
            log.error("fetching failed: %s", type(task.exception()).__name__)
        self._wake.set()

    async def _fetch(self, node: int, cursors: list[_Cursor]) -> None:
        offsets = {(cursor.topic, cursor.partition): cursor.offset for cursor in cursors}
        for cursor in cursors:
            cursor.asked_at = asyncio.get_running_loop().time()
        try:
            found = await fetch(self._client, node, offsets, max_wait_ms=self._max_wait_ms, partition_bytes=_PARTITION_BYTES)
        except TransientError as error:
            self._client.leaders_changed()
            for cursor in cursors:
                self._troubled(cursor, str(error))
            return
        for cursor in cursors:
            where = (cursor.topic, cursor.partition)
            part = found.get(where)
            if part is None or self._cursors.get(where) is not cursor:
                continue  # not answered, or nobody waits for it any more
            self._take(cursor, part)
        if sum(len(part.data) for part in found.values()) < _FULL_BYTES:
            await asyncio.sleep(gather_s(self._pressure.share()))

    def _take(self, cursor: _Cursor, part: Fetched) -> None:
        if part.error:
            self._troubled(cursor, name_of(part.error))
            self._client.leaders_changed()
            # A topic that is deleted answers so before it is made anew; and a worker that has not looked would go on at an offset of the
            # old one. So whoever owns the partition makes sure before anything more is applied.
            self._questionable(cursor.topic, cursor.partition)
            return
        cursor.troubled_since, cursor.trouble = None, ""
        cursor.backoff.reset()
        cursor.end = part.end
        now = asyncio.get_running_loop().time()
        unanswered = now - cursor.asked_at - self._max_wait_ms / 1000  # the process may have been stopped meanwhile
        unasked = cursor.asked_at - cursor.answered_at - self._linger_s
        if max(unasked, unanswered) > _UNWATCHED_S:
            self._questionable(cursor.topic, cursor.partition)
        cursor.answered_at = now
        if not part.data:
            return
        unpacked = records_of(part, cursor.topic, cursor.partition, cursor.offset, cursor.base, self._limits)
        if unpacked.next_offset <= cursor.offset:
            return
        run = FetchedRun(
            cursor.topic, cursor.partition, cursor.number, cursor.offset + cursor.base, unpacked.next_offset + cursor.base,
            unpacked.records, unpacked.size,
        )  # fmt: skip
        cursor.offset = unpacked.next_offset
        if self._linger_s and len(part.data) < _FULL_BYTES:
            cursor.not_before = asyncio.get_running_loop().time() + self._linger_s
        self._deliver(run)

    def _troubled(self, cursor: _Cursor, trouble: str) -> None:
        now = asyncio.get_running_loop().time()
        if cursor.troubled_since is None:
            cursor.troubled_since = now
            log.warning("%s/%d can't be fetched: %s; it is tried again", cursor.topic, cursor.partition, trouble)
        cursor.trouble = trouble
        cursor.not_before = now + cursor.backoff.next_s()
