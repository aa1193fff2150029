"""Reads what a source partition's uncommitted records have already caused, from the committed output positions on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.admin.kafka_client import partition_counts
from streams.engine.ledger import Commit
from streams.engine.outputs import ID_HEADER
from streams.engine.positions import Positions
from streams.engine.records import SourceRecord
from streams.errors import TransientError


class TailReader:
    """A consumer outside any group that reads the ends of output partitions, and the group's own commits."""

    def __init__(self, client_config: Mapping[str, Any], *, group_id: str, topic_prefix: str = "") -> None:
        self._config = dict(client_config)
        self._group_id = group_id
        self._prefix = topic_prefix
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def start(self) -> None:
        self._consumer = AIOKafkaConsumer(
            **self._config, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        await self._consumer.start()
        self._admin = AIOKafkaAdminClient(**self._config)
        await self._admin.start()

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
        if self._admin is not None:
            await self._admin.close()

    async def partition_counts(self, topics: Sequence[str]) -> dict[str, int]:
        """Partitions of those topics (full names) that exist."""
        if self._admin is None:
            raise TransientError("the tail reader is not started")
        return await partition_counts(self._admin, topics)

    async def committed(self, topic: str, partition: int) -> Commit | None:
        """The group's commit of a source partition (full topic name), None where there is none yet."""
        if self._admin is None:
            raise TransientError("the tail reader is not started")
        tp = TopicPartition(topic, partition)
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group_id, partitions=[tp])
        except KafkaError as error:
            raise TransientError(f"reading the committed offsets failed: {type(error).__name__}") from error
        found = offsets.get(tp)
        return None if found is None or found.offset < 0 else Commit(found.offset, found.metadata or "")

    async def ends(self, partitions: Iterable[tuple[str, int]]) -> Positions:
        """The current end offsets of output partitions (topic names without prefix)."""
        wanted = {TopicPartition(self._prefix + topic, p): (topic, p) for topic, p in partitions}
        try:
            found = await self._kafka.end_offsets(list(wanted)) if wanted else {}
        except KafkaError as error:
            raise TransientError(f"reading end offsets failed: {type(error).__name__}") from error
        return {wanted[tp]: offset for tp, offset in found.items()}

    async def end(self, topic: str, partition: int) -> int:
        """The current end offset of a source partition (full topic name)."""
        tp = TopicPartition(topic, partition)
        try:
            return int((await self._kafka.end_offsets([tp]))[tp])
        except KafkaError as error:
            raise TransientError(f"reading end offsets failed: {type(error).__name__}") from error

    async def beginning(self, topic: str, partition: int) -> int:
        """The first offset that a source partition (full topic name) still holds."""
        tp = TopicPartition(topic, partition)
        try:
            return int((await self._kafka.beginning_offsets([tp]))[tp])
        except KafkaError as error:
            raise TransientError(f"reading the first offset failed: {type(error).__name__}") from error

    async def last_records(self, topic: str, partitions: int, count: int) -> list[SourceRecord]:
        """About the last ``count`` records of an output topic, over all its partitions."""
        where = [(topic, p) for p in range(partitions)]
        ends = await self.ends(where)
        each = -(-count // partitions)
        found: list[SourceRecord] = []
        async for records in self._read({key: max(0, end - each) for key, end in ends.items()}, ends):
            found += records
        return found

    async def ids_since(self, positions: Positions, tag: bytes) -> tuple[set[tuple[str, bytes]], Positions]:
        """(topic, record id) of everything that the tagged source partition wrote at or after the positions, and the ends
        up to which was read."""
        ends = await self.ends(positions)
        found: set[tuple[str, bytes]] = set()
        async for records in self._read(positions, ends):
            for record in records:
                for name, value in record.headers:
                    if name == ID_HEADER and value[16:] == tag:
                        found.add((record.topic.removeprefix(self._prefix), bytes(value[:16])))
        return found, ends

    async def _read(self, begins: Positions, ends: Positions) -> AsyncIterator[list[SourceRecord]]:
        """The records between the positions, fetch by fetch."""
        kafka = self._kafka
        waiting = {TopicPartition(self._prefix + t, p): end for (t, p), end in ends.items() if begins[(t, p)] < end}
        if not waiting:
            return
        try:
            kafka.assign(list(waiting))
            for tp in waiting:
                kafka.seek(tp, begins[(tp.topic.removeprefix(self._prefix), tp.partition)])
            while waiting:
                for records in (await kafka.getmany(timeout_ms=200)).values():
                    yield records
                for tp in list(waiting):
                    if await kafka.position(tp) >= waiting[tp]:
                        del waiting[tp]
        except KafkaError as error:
            raise TransientError(f"reading the outputs' tail failed: {type(error).__name__}") from error
        finally:
            kafka.assign([])

    @property
    def _kafka(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise TransientError("the tail reader is not started")
        return self._consumer
