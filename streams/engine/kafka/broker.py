"""Holds all connections of a process to the brokers, and the objects that use them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError, for_code

from streams.engine.kafka.batches import DEFAULT_LIMITS, BatchLimits
from streams.engine.kafka.client import BrokerClient
from streams.engine.kafka.fetching import SourceFetcher
from streams.engine.kafka.produce import KafkaProduceLink
from streams.engine.kafka.topics import TopicReader
from streams.engine.outputs import Outputs
from streams.engine.records import FetchedRun, SourceRecord
from streams.errors import TransientError
from streams.kafka.clients import partition_counts

_EXISTS = 36
"""TOPIC_ALREADY_EXISTS: another worker was quicker."""
_SOON_COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "3600000",
    "max.compaction.lag.ms": "3600000",
    "delete.retention.ms": "86400000",
}


class KafkaBroker:
    """Three connections per broker, so that a waiting fetch delays neither a write nor a look-up."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        group_id: str,
        topic_prefix: str,
        idempotent: bool,
        fetch_wait_ms: int,
        limits: BatchLimits = DEFAULT_LIMITS,
        timestamp_step_ms: int = 1,
    ) -> None:
        """Records that are written have a timestamp rounded down to ``timestamp_step_ms``."""
        self._config = dict(config)
        self._fetching, self._writing, self._asking = (BrokerClient(config) for _ in range(3))
        self._fetch_wait_ms = fetch_wait_ms
        self._limits = limits
        link = KafkaProduceLink(self._writing, idempotent=idempotent, timestamp_step_ms=timestamp_step_ms)
        self.outputs = Outputs(link, topic_prefix=topic_prefix, idempotent=idempotent)
        self.topics = TopicReader(self._asking, group_id=group_id, topic_prefix=topic_prefix)

    async def start(self) -> None:
        """Connect. Raises KafkaError or OSError if no broker answers."""
        for client in (self._asking, self._writing, self._fetching):
            await client.start()

    async def stop(self) -> None:
        for client in (self._fetching, self._writing, self._asking):
            await client.stop()

    def fetcher(
        self,
        *,
        linger_ms: int,
        deliver: Callable[[FetchedRun], object],
        has_room: Callable[[str, int], bool],
        questionable: Callable[[str, int], None],
    ) -> SourceFetcher:
        return SourceFetcher(
            self._fetching,
            max_wait_ms=self._fetch_wait_ms,
            linger_ms=linger_ms,
            limits=self._limits,
            deliver=deliver,
            has_room=has_room,
            questionable=questionable,
        )

    async def partition_counts(self, topics: Sequence[str]) -> dict[str, int]:
        """Partitions of those topics (full names) that exist. Raises TransientError."""
        admin = AIOKafkaAdminClient(**self._config)
        try:
            await admin.start()
            return await partition_counts(admin, topics)
        except (KafkaError, OSError) as error:
            raise TransientError(f"reading about topics failed ({type(error).__name__})") from error
        finally:
            await admin.close()

    def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[SourceRecord]]:
        """The records of a partition (full topic name) between two offsets, fetch by fetch."""
        return self.topics.read(topic, partition, begin, end)

    async def make_compacted(self, topic: str, partitions: int, replication: int) -> None:
        """Make a compacted topic (full name) whose old records are soon gone, or give it as many partitions. Raises TransientError."""
        if topic in await self.partition_counts([topic]):
            await self.grow(topic, partitions)
            return
        admin = AIOKafkaAdminClient(**self._config)
        try:
            await admin.start()
            answer = await admin.create_topics([NewTopic(topic, partitions, replication, topic_configs=_SOON_COMPACTED)])
            for _, code, *_ in answer.topic_errors:
                if code not in (0, _EXISTS):
                    raise TransientError(f"{topic} could not be made ({for_code(code).__name__})")
        except (KafkaError, OSError) as error:
            raise TransientError(f"{topic} could not be made ({type(error).__name__})") from error
        finally:
            await admin.close()

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic that exists as many partitions, if it has fewer. Raises TransientError."""
        found = (await self.partition_counts([topic])).get(topic, partitions)
        if found >= partitions:
            return
        admin = AIOKafkaAdminClient(**self._config)
        try:
            await admin.start()
            answer = await admin.create_partitions({topic: NewPartitions(partitions)})
            for _, code, *_ in answer.topic_errors:
                if code:
                    raise TransientError(f"{topic} could not be given {partitions} partitions ({for_code(code).__name__})")
        except (KafkaError, OSError) as error:
            raise TransientError(f"{topic} could not be given {partitions} partitions ({type(error).__name__})") from error
        finally:
            await admin.close()
