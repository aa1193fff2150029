"""Turns fetched bytes into records, so that no content can stop a stage.

aiokafka's own parser raises on a header key that is not UTF-8, on a damaged batch, and on an unknown compression. The consumer then
stops, or skips records that nobody has seen. Here each of these becomes an UnreadableRecord in its place, and all other records are read.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from streams.engine.records import MemoryRecord, SourceRecord, UnreadableRecord
from streams.errors import TooLargeError

_ABORT = b"\x00\x00\x00\x00"
"""Key of an abort marker: version 0, type 0 (a commit's is 1)."""


class RecordBatch(Protocol):
    """A producer's batch, as ``aiokafka.record`` gives it. Iterating raises where it can't be parsed."""

    @property
    def base_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def producer_id(self) -> int | None: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_control_batch(self) -> bool: ...
    @property
    def unpacked_bytes(self) -> int: ...

    def validate_crc(self) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...


class Unpacked(NamedTuple):
    records: list[SourceRecord | UnreadableRecord]
    next_offset: int
    """To fetch next, as the topic counts."""
    size: int = 0
    """Bytes, roughly."""


Rescue = Callable[[RecordBatch, str, int], Sequence[SourceRecord | UnreadableRecord] | None]
"""Parses a batch that can't be iterated, for a topic and partition; offsets as the topic counts; None if nothing can be made of it."""


def unpack(
    batches: Iterable[RecordBatch],
    *,
    topic: str,
    partition: int,
    fetch_offset: int,
    base: int,
    aborted: Iterable[tuple[int, int]],
    rescue: Rescue,
    most_bytes: int | None = None,
) -> Unpacked:
    """What committed transactions and other producers wrote, from ``fetch_offset`` on.

    ``aborted`` are (producer id, first offset) of the aborted transactions among the batches (empty if uncommitted records are wanted);
    ``base`` is added to the offsets of the records. After the batch with which ``most_bytes`` are unpacked the rest is left for the next
    fetch: many small batches may stand for much, too.
    """
    waiting = sorted(aborted, key=lambda transaction: transaction[1])
    aborting: set[int] = set()
    records: list[SourceRecord | UnreadableRecord] = []
    position, unpacked_bytes = fetch_offset, 0
    for batch in batches:
        if most_bytes is not None and unpacked_bytes >= most_bytes:
            break
        while waiting and waiting[0][1] <= batch.base_offset:
            aborting.add(waiting.pop(0)[0])
        producer = batch.producer_id
        if not batch.validate_crc():
            records += _unreadable(batch, topic, partition, position, base, "the batch is damaged (its checksum is wrong)")
        elif batch.is_control_batch:
            try:
                if producer is not None and _is_abort(batch):
                    aborting.discard(producer)
            except Exception as error:  # noqa: BLE001 - as below
                problem = f"a transaction's marker can't be parsed ({type(error).__name__})"
                records += _unreadable(batch, topic, partition, position, base, problem)
        elif not (batch.is_transactional and producer in aborting):
            try:
                found = list(batch)
                if not _is_in_order(found, batch):
                    raise ValueError("offsets that do not rise")
                parsed: Sequence[SourceRecord | UnreadableRecord] | None = [
                    MemoryRecord(topic, partition, record.offset + base, record.timestamp, record.key, record.value, tuple(record.headers))
                    for record in found
                    if record.offset >= position
                ]
            except TooLargeError as error:
                parsed = _unreadable(batch, topic, partition, position, base, f"the batch is too large: {error}")
            except Exception as error:  # noqa: BLE001 - whatever a producer sent, it must not stop what comes after it
                parsed = _rescued(rescue, batch, topic, partition)
                if parsed is None or not _is_in_order(parsed, batch):
                    parsed = _unreadable(batch, topic, partition, position, base, f"the batch can't be parsed ({type(error).__name__})")
                else:
                    parsed = [_shifted(record, base) for record in parsed if record.offset >= position]
            records += parsed or ()
        unpacked_bytes += batch.unpacked_bytes
        position = max(position, batch.next_offset)
    return Unpacked(records, position, unpacked_bytes)


def _rescued(rescue: Rescue, batch: RecordBatch, topic: str, partition: int) -> Sequence[SourceRecord | UnreadableRecord] | None:
    try:
        return rescue(batch, topic, partition)
    except Exception:  # noqa: BLE001 - as above: then the whole batch is one dead letter
        return None


def _is_in_order(records: Sequence[Any], batch: RecordBatch) -> bool:
    """Brokers do not check the offsets within a batch. A record whose offset does not rise would be handled twice, or skipped."""
    offsets = [record.offset for record in records]
    if offsets and not batch.base_offset <= offsets[0] <= offsets[-1] < batch.next_offset:
        return False
    return all(map(operator.lt, offsets, offsets[1:]))


def _is_abort(batch: RecordBatch) -> bool:
    marker = next(iter(batch), None)
    return marker is not None and marker.key is not None and bytes(marker.key[:4]) == _ABORT


def _unreadable(batch: RecordBatch, topic: str, partition: int, position: int, base: int, problem: str) -> list[UnreadableRecord]:
    first, last = max(batch.base_offset, position) + base, batch.next_offset - 1 + base
    return [UnreadableRecord(topic, partition, first, last, 0, None, None, (), problem)] if first <= last else []


def _shifted(record: SourceRecord | UnreadableRecord, base: int) -> SourceRecord | UnreadableRecord:
    if isinstance(record, UnreadableRecord):
        return UnreadableRecord(
            record.topic,
            record.partition,
            record.offset + base,
            record.last_offset + base,
            record.timestamp,
            record.key,
            record.value,
            record.headers,
            record.problem,
        )
    return MemoryRecord(
        record.topic, record.partition, record.offset + base, record.timestamp, record.key, record.value, tuple(record.headers)
    )
