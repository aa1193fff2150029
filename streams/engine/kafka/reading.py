"""Fetch requests and their answers: shared by all readers of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aiokafka.protocol.fetch import FetchRequest

from streams.engine.kafka.batches import DEFAULT_LIMITS, BatchLimits, cut, read_patiently
from streams.engine.kafka.client import BrokerClient
from streams.engine.unpack import Unpacked, unpack

_READ_COMMITTED = 1
_MAX_BYTES = 32 * 1_048_576


class Fetched(NamedTuple):
    """One partition's part of an answer."""

    error: int
    end: int
    """The last stable offset: what comes after it may not be read yet. -1 where the broker does not tell."""
    data: bytes
    aborted: list[tuple[int, int]]


async def fetch(
    client: BrokerClient, node: int, offsets: Mapping[tuple[str, int], int], *, max_wait_ms: int, partition_bytes: int
) -> dict[tuple[str, int], Fetched]:
    """What follows these offsets, as far as transactions are over. Raises TransientError if no answer came."""
    by_topic: dict[str, list[tuple[int, int, int]]] = {}
    for (topic, partition), offset in offsets.items():
        by_topic.setdefault(topic, []).append((partition, offset, partition_bytes))
    answer = await client.send(node, FetchRequest(max_wait_ms, 1, _MAX_BYTES, _READ_COMMITTED, list(by_topic.items())))
    return dict(_parts(answer))


def _parts(answer: object) -> Iterator[tuple[tuple[str, int], Fetched]]:
    version: int = answer.API_VERSION  # type: ignore[attr-defined]
    for topic, partitions in answer.topics:  # type: ignore[attr-defined]
        for partition, error, highwater, *rest in partitions:
            # v4: stable offset, aborted, records; v5 and later put the log's start second, v11 a replica's id last but one.
            stable = rest[0] if version >= 4 else highwater
            aborted = (rest[2] if version >= 11 else rest[-2]) if version >= 4 else None
            end = stable if stable >= 0 else highwater
            yield (topic, partition), Fetched(error, end, rest[-1] or b"", [(p, o) for p, o in aborted or ()])


def records_of(found: Fetched, topic: str, partition: int, offset: int, base: int, limits: BatchLimits = DEFAULT_LIMITS) -> Unpacked:
    """The records in a part that was asked for from ``offset`` on; of much that unpacks to more, the first."""
    return unpack(
        cut(found.data, limits),
        topic=topic,
        partition=partition,
        fetch_offset=offset,
        base=base,
        aborted=found.aborted,
        rescue=read_patiently,
        most_bytes=limits.unpacked_bytes,
    )
