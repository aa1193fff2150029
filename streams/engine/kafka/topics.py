"""Asks the broker about topics, offsets and the group's commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from streams.engine.kafka.client import BrokerClient, name_of
from streams.engine.kafka.reading import fetch, records_of
from streams.engine.outputs import ID_HEADER
from streams.engine.positions import Positions
from streams.engine.records import SourceRecord, UnreadableRecord
from streams.engine.resume import Bounds, GroupCommit, incarnation_of
from streams.errors import TransientError

_EARLIEST, _LATEST = -2, -1
_READ_COMMITTED = 1


class OffsetAnswer(NamedTuple):
    """A coordinator's answer to OffsetFetch."""

    error: int
    """Of the group as a whole: then there are no partitions in the answer, whatever is committed."""
    partitions: Mapping[tuple[str, int], tuple[int, str, int]]
    """Offset, metadata, error."""


def commit_in(answer: OffsetAnswer, topic: str, partition: int) -> GroupCommit | None:
    """The group's commit of one partition. None if the coordinator says that there is none.

    Raises TransientError for any error. A coordinator that is loading its offsets answers with an error, and with no partitions.
    """
    if answer.error:
        raise TransientError(f"the group's coordinator did not return the committed offsets ({name_of(answer.error)})")
    found = answer.partitions.get((topic, partition))
    if found is None:
        raise TransientError(f"the group's coordinator left {topic}/{partition} out of its answer")
    offset, metadata, error = found
    if error:
        raise TransientError(f"the group's coordinator did not return the committed offset of {topic}/{partition} ({name_of(error)})")
    return None if offset < 0 else GroupCommit(offset, metadata or "")


class TopicReader:
    """The checkpoint's ``Log``, on a connection of its own."""

    def __init__(self, client: BrokerClient, *, group_id: str, topic_prefix: str = "") -> None:
        self._client = client
        self._group_id = group_id
        self._prefix = topic_prefix
        self._coordinator: int | None = None

    async def committed(self, topic: str, partition: int) -> GroupCommit | None:
        """The group's commit of a source partition (full topic name), None if there is none yet."""
        if self._coordinator is None:
            self._coordinator = await self._client.coordinator(self._group_id)
        try:
            raw = await self._client.send(self._coordinator, OffsetFetchRequest(self._group_id, [(topic, [partition])]))
            answer = OffsetAnswer(
                getattr(raw, "error_code", 0),
                {(name, p): (offset, metadata, error) for name, found in raw.topics for p, offset, metadata, error in found},
            )
            return commit_in(answer, topic, partition)
        except TransientError:
            self._coordinator = None  # it may be another broker by now
            raise

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """A source partition's first offset, and its last stable one."""
        where = (topic, partition)
        begins, ends = await asyncio.gather(self._offsets([where], _EARLIEST), self._offsets([where], _LATEST))
        return Bounds(begins[where], ends[where])

    async def incarnation(self, topic: str) -> int:
        return incarnation_of(await self._client.topic_id(topic))

    async def output_bounds(self, where: Iterable[tuple[str, int]]) -> tuple[Positions, Positions]:
        full = {(self._prefix + topic, partition): (topic, partition) for topic, partition in where}
        begins, ends = await asyncio.gather(self._offsets(full, _EARLIEST), self._offsets(full, _LATEST))
        return {full[key]: offset for key, offset in begins.items()}, {full[key]: offset for key, offset in ends.items()}

    async def stamps(self, begins: Positions, ends: Positions, tag: bytes) -> Mapping[bytes, set[tuple[str, bytes]]]:
        found: dict[bytes, set[tuple[str, bytes]]] = {}
        async for records in self._read(begins, ends):
            for record in records:
                for name, value in record.headers:
                    if name == ID_HEADER and value[16:20] == tag:
                        found.setdefault(bytes(value[20:]), set()).add((record.topic.removeprefix(self._prefix), bytes(value[:16])))
        return found

    async def last_records(self, topic: str, partitions: int, count: int) -> list[SourceRecord]:
        """About the last ``count`` records of an output topic, over all its partitions."""
        first, ends = await self.output_bounds([(topic, p) for p in range(partitions)])
        each = -(-count // partitions)
        found: list[SourceRecord] = []
        async for records in self._read({where: max(first[where], end - each) for where, end in ends.items()}, ends):
            found += records
        return found

    async def _offsets(self, where: Iterable[tuple[str, int]], what: int) -> dict[tuple[str, int], int]:
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for topic, partition in where:
            node = await self._client.leader(topic, partition)
            by_node.setdefault(node, {}).setdefault(topic, []).append((partition, what))
        requests = [self._client.send(node, OffsetRequest(-1, _READ_COMMITTED, list(topics.items()))) for node, topics in by_node.items()]
        found: dict[tuple[str, int], int] = {}
        for answer in await asyncio.gather(*requests):
            for topic, partitions in answer.topics:
                for partition, error, *rest in partitions:
                    if error:
                        self._client.leaders_changed()
                        raise TransientError(f"the broker did not return the offsets of {topic}/{partition} ({name_of(error)})")
                    found[(topic, partition)] = int(rest[-1])
        return found

    async def _read(self, begins: Positions, ends: Positions) -> AsyncIterator[list[SourceRecord]]:
        """The records between the offsets (output topics without prefix), fetch by fetch."""
        at = {(self._prefix + t, p): begins[(t, p)] for (t, p), end in ends.items() if begins[(t, p)] < end}
        async for found in self._read_full(at, {(self._prefix + t, p): end for (t, p), end in ends.items()}):
            yield found

    async def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[list[SourceRecord]]:
        """The records of a partition (full topic name) between two offsets, fetch by fetch."""
        async for found in self._read_full({(topic, partition): begin}, {(topic, partition): end}):
            yield found

    async def _read_full(self, at: dict[tuple[str, int], int], until: dict[tuple[str, int], int]) -> AsyncIterator[list[SourceRecord]]:
        while at:
            by_node: dict[int, dict[tuple[str, int], int]] = {}
            for where, offset in at.items():
                by_node.setdefault(await self._client.leader(*where), {})[where] = offset
            for node, offsets in by_node.items():
                answer = await fetch(self._client, node, offsets, max_wait_ms=50, partition_bytes=1_048_576)
                for where, part in answer.items():
                    if part.error:
                        self._client.leaders_changed()
                        raise TransientError(f"reading {where[0]}/{where[1]} failed ({name_of(part.error)})")
                    unpacked = records_of(part, *where, at[where], 0)
                    found = [r for r in unpacked.records if not isinstance(r, UnreadableRecord) and r.offset < until[where]]
                    if found:
                        yield found
                    at[where] = unpacked.next_offset
                    if at[where] >= until[where]:
                        del at[where]
