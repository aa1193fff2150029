"""Follows topics, each by itself: one that can't be read leaves the others alone, says why, and is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams.errors import AccessDenied, FatalError, TransientError
from streams.kafka.clients import reader
from streams.settings import KafkaSettings

log = logging.getLogger(__name__)

PAUSE_S = 0.5
AGAIN_S = 10.0
_AT_ONCE = 2000
ROLE = "console"

Take = Callable[[Sequence[Any]], Awaitable[None]]


class Follower:
    """One topic. ``take`` gets its records, each partition's in order, at most some thousand a second."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        take: Take,
        *,
        newest: int | None = None,
        skipped: Callable[[int], None] = lambda count: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """``topic`` by its full name. ``newest``: of each partition only so many records from its end are read, at the start and whenever
        more have come meanwhile; ``skipped`` is told how many were not. None: all records. ``begin`` is called before the first record of
        each attempt: what was taken before comes again."""
        self._kafka, self._topic, self._take = kafka, topic, take
        self._newest, self._skipped, self._begin = newest, skipped, begin
        self.problem: str | None = None
        """Why the topic can't be read now, and what to do."""
        self.behind = 0
        """Records that wait."""
        self.is_read = False
        """Whether it is being read now."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with reader(self._kafka, self._topic) as consumer:
                    await self._follow(consumer)
            except AccessDenied as error:
                self._tell(str(AccessDenied(error.rights, ROLE)))
            except (FatalError, TransientError) as error:
                self._tell(str(error))
            except (KafkaError, OSError) as error:
                self._tell(f"the broker can't be reached ({type(error).__name__}); check the broker and the KAFKA_… settings")
            await asyncio.sleep(AGAIN_S)

    def _tell(self, problem: str) -> None:
        self.is_read = False
        if self.problem != problem:
            log.warning("%s: %s", self._topic, problem)
        self.problem = problem

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        self._begin()
        await consumer.seek_to_beginning(*consumer.assignment())
        while True:
            await self._skip(consumer)
            fetched = await consumer.getmany(timeout_ms=int(PAUSE_S * 1000), max_records=_AT_ONCE)
            records = [record for own in fetched.values() for record in own]
            if records:
                await self._take(records)
            self.problem, self.is_read = None, True
            await asyncio.sleep(PAUSE_S)

    async def _skip(self, consumer: AIOKafkaConsumer) -> None:
        """Go on near the end, where only that is wanted, and count what waits."""
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        self.behind = 0
        for tp in partitions:
            position = await consumer.position(tp)
            if self._newest is not None and ends[tp] - position > self._newest:
                self._skipped(ends[tp] - self._newest - position)
                position = ends[tp] - self._newest
                consumer.seek(tp, position)
            self.behind += max(0, ends[tp] - position)
