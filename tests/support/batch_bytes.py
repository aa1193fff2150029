"""Record batches as producers and brokers send them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = (NONE, GZIP, SNAPPY, LZ4, ZSTD)
TRANSACTIONAL, CONTROL = 0x10, 0x20
ATTRIBUTES_AT, CRC_AT, COUNT_AT = 21, 17, 57


def batch(
    values: Sequence[bytes],
    *,
    at: int = 0,
    codec: int = NONE,
    producer: int = -1,
    flags: int = 0,
    headers: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """A producer's batch with these values, the first of which has offset ``at``."""
    builder = DefaultRecordBatchBuilder(2, codec, bool(flags & TRANSACTIONAL), producer, 0 if producer >= 0 else -1, 0, 1 << 30)
    for index, value in enumerate(values):
        builder.append(index, timestamp=1_000 + index, key=b"key", value=value, headers=list(headers))
    return changed(bytes(builder.build()), at=at, flags=flags)


def changed(
    raw: bytes, *, at: int | None = None, flags: int = 0, codec: int | None = None, replace: tuple[bytes, bytes] | None = None
) -> bytes:
    """The batch with other bytes and a right checksum."""
    data = bytearray(raw)
    if at is not None:
        data[:8] = struct.pack(">q", at)
    attributes = int.from_bytes(data[ATTRIBUTES_AT : ATTRIBUTES_AT + 2], "big") | flags
    if codec is not None:
        attributes = attributes & ~7 | codec
    data[ATTRIBUTES_AT : ATTRIBUTES_AT + 2] = attributes.to_bytes(2, "big")
    if replace is not None:
        assert data.count(replace[0]) >= 1 and len(replace[0]) == len(replace[1])
        data = data.replace(*replace)
    data[CRC_AT : CRC_AT + 4] = struct.pack(">I", calc_crc32c(bytes(data[ATTRIBUTES_AT:])))
    return bytes(data)


def sealed(data: bytearray, *, codec: int | None = None) -> bytes:
    """The bytes of a batch with the right length and checksum."""
    data[8:12] = struct.pack(">i", len(data) - 12)
    return changed(bytes(data), codec=codec)
