"""Writes a batch's outputs and waits until the broker has acknowledged every one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata

from streams.engine.positions import Positions
from streams.engine.records import OutputRecord
from streams.errors import Reason, RecordError, TransientError

ID_HEADER = "veilstream-id"
"""Header of every output: 16 bytes record id, 4 bytes tag of the source partition."""

_MAX_BATCH_BYTES = 900_000
_KEY_CACHE = 200_000

Rows = list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]


def source_tag(topic: str, partition: int) -> bytes:
    """Four bytes that tell one source partition's outputs from another's in the tail of an output partition."""
    return crc32(f"{topic}/{partition}".encode()).to_bytes(4, "big")


class OutputWriter:
    """One producer a stage. Records are grouped by partition into batches of the client, one future a batch instead
    of one a record."""

    def __init__(self, client_config: Mapping[str, Any], *, topic_prefix: str = "", idempotent: bool = True) -> None:
        self._config = dict(client_config)
        self._prefix = topic_prefix
        self._idempotent = idempotent
        self._producer: AIOKafkaProducer | None = None
        self._key_partitions: dict[tuple[str, bytes], int] = {}
        self._counts: dict[str, int] = {}
        self.positions: Positions = {}
        """Per output topic (without prefix) and partition: the offset after the last record that this writer wrote."""

    async def start(self) -> None:
        """Connect. Raises the client's KafkaConnectionError where no broker answers."""
        producer = AIOKafkaProducer(
            **self._config,
            acks="all",
            enable_idempotence=self._idempotent,
            linger_ms=0,
            max_batch_size=_MAX_BATCH_BYTES,
            max_request_size=1_048_576,
            request_timeout_ms=30_000,
        )
        await producer.start()
        self._producer = producer

    async def stop(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def partition_count(self, topic: str) -> int:
        """Partitions of an output topic. Raises TransientError while the broker does not know the topic."""
        if topic not in self._counts:
            partitions = await self._client.partitions_for(self._prefix + topic)
            if not partitions:
                raise TransientError(f"topic {self._prefix + topic} is missing; run `veilstream topics create`")
            self._counts[topic] = len(partitions)
        return self._counts[topic]

    @property
    def _client(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise TransientError("the producer is not started")
        return self._producer

    async def write(self, outputs: Sequence[OutputRecord], tag: bytes) -> None:
        """Write and wait for all acknowledgements.

        Raises TransientError where the broker did not acknowledge (it may still have written: look at the tail before
        writing again), RecordError where a record is too large for any batch.
        """
        groups: defaultdict[tuple[str, int], Rows] = defaultdict(list)
        for output in outputs:
            partition = output.partition if output.partition is not None else await self._partition_of(output)
            groups[(output.topic, partition)].append((output.key, output.value, [(ID_HEADER, output.record_id + tag), *output.headers]))
        acknowledged = await self._send_all({(self._prefix + topic, p): rows for (topic, p), rows in groups.items()})
        for (topic, partition), next_offset in acknowledged.items():
            known = (topic.removeprefix(self._prefix), partition)
            self.positions[known] = max(self.positions.get(known, 0), next_offset)

    async def write_changelog(self, topic: str, partition: int, changes: Iterable[tuple[bytes, bytes | None]]) -> int | None:
        """Write to one partition of a changelog topic (full name); returns the last offset, None if the broker did not tell."""
        acknowledged = await self._send_all({(topic, partition): [(key, value, []) for key, value in changes]})
        next_offset = acknowledged.get((topic, partition))
        return None if next_offset is None else next_offset - 1

    async def _partition_of(self, output: OutputRecord) -> int:
        count = await self.partition_count(output.topic)
        key = output.key or b""
        cached = self._key_partitions.get((output.topic, key))
        if cached is None:
            if len(self._key_partitions) >= _KEY_CACHE:
                self._key_partitions.clear()
            cached = self._key_partitions[(output.topic, key)] = (murmur2(key) & 0x7FFFFFFF) % count
        return cached

    async def _send_all(self, groups: Mapping[tuple[str, int], Rows]) -> Positions:
        pending: list[tuple[tuple[str, int], int, asyncio.Future[RecordMetadata]]] = []
        result: Positions = {}
        try:
            for (topic, partition), rows in groups.items():
                for builder in self._fill(rows):
                    future = await self._client.send_batch(builder, topic, partition=partition)
                    pending.append(((topic, partition), builder.record_count(), future))
        except KafkaError as error:
            await asyncio.gather(*(future for _, _, future in pending), return_exceptions=True)
            raise TransientError(f"writing failed: {type(error).__name__}") from error
        answers = await asyncio.gather(*(future for _, _, future in pending), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if failures:
            raise TransientError(f"writing failed: {type(failures[0]).__name__}") from failures[0]
        for (where, count, _), answer in zip(pending, answers, strict=True):
            if isinstance(answer, RecordMetadata) and answer.offset is not None and answer.offset >= 0:
                result[where] = max(result.get(where, 0), answer.offset + count)
        return result

    def _fill(self, rows: Rows) -> list[Any]:
        builders: list[Any] = []
        builder = self._client.create_batch()
        for key, value, headers in rows:
            if builder.append(key=key, value=value, timestamp=None, headers=headers) is None:
                builders.append(builder)
                builder = self._client.create_batch()
                if builder.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    raise RecordError(Reason.TOO_LARGE, "an output of this record is larger than a batch may be")
        builder.close()
        builders.append(builder)
        return [b for b in builders if b.record_count()]
