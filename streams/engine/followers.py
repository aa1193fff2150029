"""Follows a compacted topic whole, outside any consumer group, and feeds a read model in memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.engine.records import SourceRecord
from streams.errors import TransientError

log = logging.getLogger(__name__)

_MAX_RECORDS = 5000
_GATHER_S = 0.1
_PAUSE_S = 1.0


class Follower(Protocol):
    """Feeds read models from topics, for as long as the stage runs."""

    @property
    def topic(self) -> str:
        """Full name of the topic whose partitions it is told at the start."""
        ...

    async def start(self, partitions: int) -> None: ...
    async def stop(self) -> None: ...
    async def caught_up(self, partition: int | None = None) -> None:
        """Wait until everything that is there now (or in one partition) is applied. Raises what stopped it."""
        ...


class TopicFollower:
    """Reads every partition of a topic from its beginning and goes on; ``apply`` gets the records of one fetch."""

    def __init__(self, client_config: Mapping[str, Any], topic: str, apply: Callable[[Sequence[SourceRecord]], object]) -> None:
        self._config = dict(client_config)
        self.topic = topic
        self._apply = apply
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._applied: dict[int, int] = {}
        self._progress = asyncio.Condition()
        self._failure: BaseException | None = None
        self._read_at = time.monotonic()

    async def start(self, partitions: int) -> None:
        """Connect and begin to read all of the topic's partitions."""
        consumer = AIOKafkaConsumer(
            **self._config,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
            isolation_level="read_committed",
        )
        await consumer.start()
        self._consumer = consumer
        tps = [TopicPartition(self.topic, p) for p in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        for tp in tps:
            self._applied[tp.partition] = await consumer.position(tp)
        self._task = asyncio.create_task(self._follow(), name=f"follow {self.topic}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()

    @property
    def failure(self) -> BaseException | None:
        """What ended it, if anything did; a broker's trouble does not."""
        return self._failure

    def age_s(self) -> float:
        """Seconds since the topic was last read, with or without something new in it."""
        return time.monotonic() - self._read_at

    async def caught_up(self, partition: int | None = None) -> None:
        """Wait until everything that is in the topic now (or in one partition of it) is applied. Raises what stopped the follower."""
        if self._consumer is None:
            raise TransientError(f"the follower of {self.topic} is not started")
        tps = [TopicPartition(self.topic, p) for p in self._applied if partition is None or p == partition]
        try:
            ends = await self._consumer.end_offsets(tps)
        except KafkaError as error:
            raise TransientError(f"reading the end of {self.topic} failed: {type(error).__name__}") from error

        def reached() -> bool:
            return self._failure is not None or all(self._applied[tp.partition] >= end for tp, end in ends.items())

        async with self._progress:
            await self._progress.wait_for(reached)
        if self._failure is not None:
            raise self._failure

    async def _follow(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        try:
            while True:
                try:
                    fetched = await consumer.getmany(timeout_ms=500, max_records=_MAX_RECORDS)
                except KafkaError as error:
                    # An access rule that is being changed, a broker that restarts: the topic is read on when it can be.
                    log.warning("%s can't be read: %s; it is tried again", self.topic, type(error).__name__)
                    await asyncio.sleep(_PAUSE_S)
                    continue
                self._read_at = time.monotonic()
                for records in fetched.values():
                    self._apply(records)
                    await asyncio.sleep(0)
                async with self._progress:
                    for tp in consumer.assignment():
                        # The position also passes what compaction removed at the end.
                        self._applied[tp.partition] = await consumer.position(tp)
                    self._progress.notify_all()
                if fetched:
                    # What comes one by one is gathered: nobody waits for a read model, and each fetch costs the broker as much.
                    await asyncio.sleep(_GATHER_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for the follower gets it
            log.error("the follower of %s stopped: %s", self.topic, type(error).__name__)
            self._failure = error
            async with self._progress:
                self._progress.notify_all()
