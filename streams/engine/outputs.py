"""Writes outputs and changelogs. A write returns only when it is certain what was written.

This is an idempotent producer. It sends a batch again, with the same bytes and the same sequence number, until the broker's answer is
final. So a lost answer does no harm: the broker recognizes a batch that it already has. A final refusal uses no sequence number, and
delays only later records of the same write. The fence is checked right before each request goes to the socket.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aiokafka.partitioner import murmur2

from streams.backoff import Backoff, retry
from streams.engine.positions import Positions
from streams.engine.records import OutputRecord
from streams.errors import Reason, RecordError, TransientError

ID_HEADER = "veilstream-id"
"""Header of every output: 16 bytes record id, then the stamp of the source partition that caused it."""

MAX_BATCH_BYTES = 900_000
_BACKOFF_S = (0.1, 5.0)
_KEY_CACHE = 200_000
_RECORD_OVERHEAD = 40
"""Maximum number of framing bytes of a record, its id header included. The builder's own estimate is slower."""

LINK_LOST = -1_000
"""In place of Kafka's error code: no answer came."""
_OK = 0
_DUPLICATE = 46
_REFUSED = frozenset({10, 18, 32, 87})
"""MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP, INVALID_RECORD: not written, and never will be."""
_PRODUCER_UNKNOWN = frozenset({45, 47, 49, 59, 90})
"""OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, UNKNOWN_PRODUCER_ID, PRODUCER_FENCED: the broker
has lost its data about this producer. So it is unknown whether the broker has the batch.
"""

Row = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value, headers."""
Where = tuple[str, int]
"""Topic and partition."""


class Answer(NamedTuple):
    """What became of one partition's batch."""

    error: int
    """Kafka's error code, or LINK_LOST."""
    offset: int
    """Of the batch's first record; -1 where the broker does not tell."""


class ProduceLink(Protocol):
    """How batches get to the broker. Topics are full names."""

    async def partition_count(self, topic: str) -> int:
        """Raises TransientError while the broker does not know the topic."""
        ...

    async def warm_up(self, topic: str) -> None:
        """Connect to the leaders of a topic. Raises TransientError."""
        ...

    async def new_producer(self) -> tuple[int, int]:
        """A fresh producer id and epoch; (-1, -1) where idempotence is off. Raises TransientError."""
        ...

    def encode(self, rows: Sequence[Row], producer: tuple[int, int], sequence: int) -> Any:
        """One record batch."""
        ...

    async def produce(self, batches: Mapping[Where, Any], fences: Sequence[Callable[[], None]]) -> Mapping[Where, Answer]:
        """Send one batch per partition. Returns an answer for each partition.

        The fences are called after all waiting, right before the bytes are sent. Raises what a fence raises. Then nothing was sent
        to that broker, and the answers of other brokers are lost.
        """
        ...

    async def pause(self, seconds: float) -> None: ...


@dataclass(slots=True)
class _Producer:
    """One producer id and the next sequence number of each partition."""

    identity: tuple[int, int]
    sequences: defaultdict[Where, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(slots=True)
class _Batch:
    rows: Sequence[Row]
    producer: _Producer
    payload: Any


class Lock(Protocol):
    async def acquire(self) -> object: ...
    def release(self) -> None: ...


class Outputs:
    """One a stage and process; many partitions' batches are written side by side."""

    def __init__(
        self, link: ProduceLink, *, topic_prefix: str = "", idempotent: bool = True, lock: Callable[[], Lock] = asyncio.Lock
    ) -> None:
        self._link = link
        self._prefix = topic_prefix
        self._idempotent = idempotent
        self._producer: _Producer | None = None
        self._locks: defaultdict[Where, Lock] = defaultdict(lock)
        self._starting = lock()
        self._key_partitions: dict[tuple[str, bytes, int], int] = {}
        self.positions: Positions = {}
        """Per output topic (without prefix) and partition: the offset after the last record that this process wrote."""
        self.retrying: dict[Where, int] = {}
        """Attempts in vain so far, of what is being sent again now."""

    async def warm_up(self, topics: Iterable[str]) -> None:
        """Look up the output topics (without prefix), connect to their leaders and get a producer id. So the first record need not
        wait for this. Raises TransientError.
        """
        for topic in topics:
            await self._link.warm_up(self._prefix + topic)
        if self._producer is None:
            self._producer = _Producer(await self._link.new_producer())

    async def partition_count(self, topic: str) -> int:
        """Partitions of an output topic (without prefix), as the broker tells now. Raises TransientError if it does not know it."""
        return await self._link.partition_count(self._prefix + topic)

    async def write(
        self, outputs: Sequence[OutputRecord], stamp: bytes, fence: Callable[[], None], acknowledged: Callable[[OutputRecord], None]
    ) -> None:
        """Write outputs. ``acknowledged`` is called for each output that the broker has.

        Raises:

        - RecordError if the broker refuses an output for good. Then everything before it, and all of other partitions, is written.
          Later outputs of its partition are not written, because they were computed as if this one counted.
        - NotOwner if the fence raises it.
        - TransientError if it is unknown what is written. Then read the tail of the outputs before writing again.
        """
        groups: defaultdict[Where, list[Row]] = defaultdict(list)
        records: defaultdict[Where, list[OutputRecord]] = defaultdict(list)
        for output in outputs:
            partition = output.partition if output.partition is not None else await self._partition_of(output)
            where = (self._prefix + output.topic, partition)
            groups[where].append((output.key, output.value, [(ID_HEADER, output.record_id + stamp), *output.headers]))
            records[where].append(output)

        def on_written(where: Where, first: int, count: int, next_offset: int) -> None:
            for output in records[where][first : first + count]:
                acknowledged(output)
            known = (where[0].removeprefix(self._prefix), where[1])
            self.positions[known] = max(self.positions.get(known, 0), next_offset)

        await self._write_all(groups, fence, on_written)

    async def write_changelog(
        self, topic: str, partition: int, changes: Iterable[tuple[bytes, bytes | None]], fence: Callable[[], None]
    ) -> int | None:
        """Write to one partition of a changelog topic (full name); the last offset, None if the broker did not tell. Raises as above;
        after a RecordError some of the changes may be written."""
        last: list[int] = []
        rows: list[Row] = [(key, value, ()) for key, value in changes]
        await self._write_all({(topic, partition): rows}, fence, lambda _w, _f, _c, next_offset: last.append(next_offset - 1))
        return max(last, default=-1) if max(last, default=-1) >= 0 else None

    async def reachable(self, outputs_of: Mapping[str, bool], partition: int) -> tuple[Where, ...]:
        """The output partitions that records of a source partition can cause anything in. ``outputs_of``: each output topic, and whether it
        is written only to the source's own partition number."""
        found: set[Where] = set()
        for topic, aligned in outputs_of.items():
            found |= {(topic, p) for p in ([partition] if aligned else range(await self.partition_count(topic)))}
        return tuple(sorted(found))

    async def _partition_of(self, output: OutputRecord) -> int:
        count = await self.partition_count(output.topic)
        key = output.partition_key or output.key or b""
        cached = self._key_partitions.get((output.topic, key, count))
        if cached is None:
            if len(self._key_partitions) >= _KEY_CACHE:
                self._key_partitions.clear()
            cached = self._key_partitions[(output.topic, key, count)] = (murmur2(key) & 0x7FFFFFFF) % count
        return cached

    async def _write_all(
        self, groups: Mapping[Where, Sequence[Row]], fence: Callable[[], None], on_written: Callable[[Where, int, int, int], None]
    ) -> None:
        """``on_written`` gets the place, the index of the first row, how many rows, and the offset after them."""
        waiting = {where: deque(_chunks(rows)) for where, rows in groups.items()}
        held: list[Lock] = []
        try:
            for where in sorted(waiting):  # in one order, so that two writers never wait for each other
                lock = self._locks[where]
                await lock.acquire()
                held.append(lock)
            refused = await self._deliver(waiting, fence, on_written)
        finally:
            for lock in held:
                lock.release()
            for where in waiting:
                self.retrying.pop(where, None)
        if refused:
            raise RecordError(Reason.TOO_LARGE, f"the broker refused an output of it ({refused[0]}); see the topic's max.message.bytes")

    async def _deliver(
        self,
        waiting: dict[Where, deque[tuple[int, Sequence[Row]]]],
        fence: Callable[[], None],
        on_written: Callable[[Where, int, int, int], None],
    ) -> list[str]:
        prepared: dict[Where, _Batch] = {}
        try:
            return await self._deliver_all(waiting, prepared, fence, on_written)
        except BaseException:
            # The broker may have one of these under its sequence number. Another batch under the same number would be taken for it, and
            # lost: so this producer writes nothing any more.
            if any(self._producer is batch.producer for batch in prepared.values()):
                self._producer = None
            raise

    async def _deliver_all(
        self,
        waiting: dict[Where, deque[tuple[int, Sequence[Row]]]],
        prepared: dict[Where, _Batch],
        fence: Callable[[], None],
        on_written: Callable[[Where, int, int, int], None],
    ) -> list[str]:
        """``prepared`` holds the batches of whose fate nothing final is known."""
        # Not ``retry``: some batches get through while others do not, and each is sent again as the very bytes that it was.
        refused: list[str] = []
        backoff = Backoff(*_BACKOFF_S)
        while any(waiting.values()):
            fence()
            for where, chunks in waiting.items():
                if chunks and where not in prepared:
                    prepared[where] = await self._prepare(where, chunks[0][1], fence)
            batches = dict(prepared)
            answers = await self._link.produce({where: batch.payload for where, batch in batches.items()}, (fence,))
            in_vain = []
            for where, batch in batches.items():
                answer = answers[where]
                first, rows = waiting[where][0]
                if answer.error in (_OK, _DUPLICATE):
                    batch.producer.sequences[where] += len(rows)
                    waiting[where].popleft()
                    on_written(where, first, len(rows), answer.offset + len(rows) if answer.offset >= 0 else 0)
                elif answer.error in _REFUSED:
                    waiting[where].popleft()
                    if len(rows) > 1:
                        middle = len(rows) // 2
                        waiting[where].extendleft([(first + middle, rows[middle:]), (first, rows[:middle])])
                    else:
                        refused.append(f"error {answer.error} of topic {where[0]}")
                        waiting[where].clear()  # what follows was made as if this one counted
                elif answer.error in _PRODUCER_UNKNOWN or (answer.error == LINK_LOST and not self._idempotent):
                    if self._producer is batch.producer:
                        self._producer = None
                    raise TransientError(f"writing to {where[0]} failed (error {answer.error})")
                else:
                    in_vain.append(where)
                    self.retrying[where] = self.retrying.get(where, 0) + 1
                    continue
                del prepared[where]
                self.retrying.pop(where, None)
            if len(in_vain) == len(batches):
                await self._link.pause(backoff.next_s())
            else:
                backoff.reset()
        return refused

    async def _prepare(self, where: Where, rows: Sequence[Row], fence: Callable[[], None]) -> _Batch:
        producer = await self._current_producer(fence)
        return _Batch(rows, producer, self._link.encode(rows, producer.identity, producer.sequences[where]))

    async def _current_producer(self, fence: Callable[[], None]) -> _Producer:
        if self._producer is not None:
            return self._producer

        async def start() -> _Producer:
            await self._starting.acquire()
            try:
                if self._producer is None:
                    self._producer = _Producer(await self._link.new_producer())
                return self._producer
            finally:
                self._starting.release()

        async def pause(seconds: float) -> None:
            await self._link.pause(seconds)
            fence()

        return await retry(start, transient=TransientError, backoff=Backoff(*_BACKOFF_S), pause=pause)


def _chunks(rows: Sequence[Row]) -> list[tuple[int, Sequence[Row]]]:
    """Runs of rows that fit into a batch, each with the index of its first row. A row that is too large stands alone."""
    chunks: list[tuple[int, Sequence[Row]]] = []
    first, size = 0, 0
    for index, (key, value, headers) in enumerate(rows):
        own = _RECORD_OVERHEAD + len(key or b"") + len(value or b"") + sum(len(name) + len(content) + 8 for name, content in headers)
        if index > first and size + own > MAX_BATCH_BYTES:
            chunks.append((first, rows[first:index]))
            first, size = index, 0
        size += own
    if first < len(rows):
        chunks.append((first, rows[first:]))
    return chunks
