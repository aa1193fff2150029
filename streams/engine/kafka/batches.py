"""Kafka's record batches: cuts them out of a fetch's bytes and reads them. If the fast parser fails, a slower one reads the batch again.

The layout is that of https://kafka.apache.org/documentation/#recordbatch (magic 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.engine.kafka.decompress import decompress
from streams.engine.outputs import Row
from streams.engine.records import MemoryRecord, SourceRecord, UnreadableRecord
from streams.engine.unpack import RecordBatch
from streams.errors import TooLargeError

_PREFIX = struct.Struct(">qi")
"""Base offset, and length of what follows."""
_RECORDS_AT = 61
_CODEC = 7


class BatchLimits(NamedTuple):
    """What one batch may unpack to. What is larger is not read; it becomes one dead letter."""

    unpacked_bytes: int = 67_108_864
    records: int = 200_000


DEFAULT_LIMITS = BatchLimits()


class CutBatch:
    """One batch with its bytes. A RecordBatch."""

    def __init__(self, raw: bytes, limits: BatchLimits = DEFAULT_LIMITS) -> None:
        self.raw = raw
        self.unpacked_bytes = len(raw)
        self._limits = limits
        self._batch: Any = MemoryRecords(raw).next_batch()
        self._is_legacy = raw[16] < 2

    @property
    def base_offset(self) -> int:
        # A batch of an old format (magic 0 and 1) has only the offset of its last record. The requested offset is its lower bound.
        return 0 if self._is_legacy else int(self._batch.base_offset)

    @property
    def next_offset(self) -> int:
        return int(self._batch.next_offset)

    @property
    def producer_id(self) -> int | None:
        return None if self._is_legacy else self._batch.producer_id

    @property
    def is_transactional(self) -> bool:
        return not self._is_legacy and bool(self._batch.is_transactional)

    @property
    def is_control_batch(self) -> bool:
        return not self._is_legacy and bool(self._batch.is_control_batch)

    def validate_crc(self) -> bool:
        return bool(self._batch.validate_crc())

    def __iter__(self) -> Iterator[Any]:
        """Raises TooLargeError beyond the limits, and whatever the parser raises for what is damaged."""
        if self._is_legacy:
            self._check_legacy()
            return iter(self._batch)
        if not _codec(self.raw):
            self._check_records()
            return iter(self._batch)
        body = self.body()
        plain = (int.from_bytes(self.raw[21:23], "big") & ~_CODEC).to_bytes(2, "big")
        # The parser decompresses without a limit. So it gets the batch as it would have been without compression.
        header = self.raw[:8] + (_RECORDS_AT - _PREFIX.size + len(body)).to_bytes(4, "big") + self.raw[12:21] + plain
        return iter(MemoryRecords(header + self.raw[23:_RECORDS_AT] + body).next_batch())

    def body(self) -> bytes:
        """The records' bytes, unpacked. Raises TooLargeError beyond the limits, ValueError where they can't be."""
        self._check_records()
        codec, body = _codec(self.raw), self.raw[_RECORDS_AT:]
        if codec:
            body = decompress(codec, body, self._limits.unpacked_bytes)
            self.unpacked_bytes = len(body)
        return body

    def _check_records(self) -> None:
        count = int.from_bytes(self.raw[57:61], "big", signed=True)
        if count > self._limits.records:
            raise TooLargeError(f"it holds {count} records; at most {self._limits.records} are read")

    def _check_legacy(self) -> None:
        """An old format has its batch in the value of a message: unpacked here to see that it is not too large, then by the parser."""
        codec = self.raw[17] & _CODEC
        if codec:
            at = 18 + 8 * (self.raw[16] == 1)
            key = max(0, int.from_bytes(self.raw[at : at + 4], "big", signed=True))
            value = self.raw[at + 4 + key + 4 :]
            self.unpacked_bytes = len(decompress(codec, value, self._limits.unpacked_bytes))


def _codec(raw: bytes) -> int:
    return int.from_bytes(raw[21:23], "big") & _CODEC


def cut(data: bytes, limits: BatchLimits = DEFAULT_LIMITS) -> list[CutBatch]:
    """The whole batches in a fetch's bytes; the broker may cut off the last one."""
    batches = []
    at = 0
    while at + _PREFIX.size <= len(data):
        length = _PREFIX.unpack_from(data, at)[1]
        end = at + _PREFIX.size + length
        if length < 17 - _PREFIX.size or end > len(data):
            break
        batches.append(CutBatch(bytes(data[at:end]), limits))
        at = end
    return batches


def encode_rows(rows: Sequence[Row], producer: tuple[int, int], sequence: int, timestamp_ms: int) -> bytes:
    """One uncompressed batch of any size."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, producer[0], producer[1], sequence if producer[0] >= 0 else -1, 1 << 30)
    for index, (key, value, headers) in enumerate(rows):
        builder.append(index, timestamp=timestamp_ms, key=key, value=value, headers=list(headers))
    return bytes(builder.build())


def read_patiently(batch: RecordBatch, topic: str, partition: int) -> Sequence[SourceRecord | UnreadableRecord] | None:
    """Records of a batch in which something can't be parsed; what is wrong with one does not touch the others. None if the batch as a
    whole can't be decompressed."""
    if not isinstance(batch, CutBatch) or batch.raw[16] != 2:
        return None
    raw = batch.raw
    first_timestamp, _ = struct.unpack_from(">qq", raw, 27)
    count = int.from_bytes(raw[57:61], "big", signed=True)
    try:
        body = batch.body()
    except ValueError:
        return None
    records: list[SourceRecord | UnreadableRecord] = []
    at = 0
    for _ in range(count):
        try:
            length, start = _varint(body, at)
            record, at = body[start : start + length], start + length
            if length <= 0 or len(record) < length:
                return None  # nothing after it can be found
        except (IndexError, ValueError):
            return None
        records.append(_read(record, topic, partition, batch.base_offset, first_timestamp, len(records)))
    return records


def _read(record: bytes, topic: str, partition: int, base_offset: int, first_timestamp: int, place: int) -> SourceRecord | UnreadableRecord:
    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes]] = []
    offset, timestamp, problem = base_offset + place, first_timestamp, ""
    try:
        delta, at = _varint(record, 1)
        timestamp += delta
        delta, at = _varint(record, at)
        offset = base_offset + delta
        key, at = _bytes(record, at)
        value, at = _bytes(record, at)
        many, at = _varint(record, at)
        for _ in range(many):
            name, at = _bytes(record, at)
            content, at = _bytes(record, at)
            try:
                headers.append(((name or b"").decode(), content or b""))
            except UnicodeDecodeError:
                problem = "the name of a header is not UTF-8"
                headers.append(((name or b"").decode(errors="backslashreplace"), content or b""))
    except (IndexError, ValueError):
        problem = "it is not a record by Kafka's format"
    if problem:
        return UnreadableRecord(topic, partition, offset, offset, timestamp, key, value, tuple(headers), problem)
    return MemoryRecord(topic, partition, offset, timestamp, key, value, tuple(headers))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number and where it ends. Raises IndexError past the end, ValueError for one that is too long."""
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number of variable length does not end")


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise IndexError
    return data[at : at + length], at + length
