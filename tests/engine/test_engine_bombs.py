"""Batches that unpack to far more than they weigh: they are refused while they grow, and what lies beside them is read."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import zlib
from functools import cache

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.kafka.batches import BatchLimits, cut, read_patiently
from streams.engine.kafka.decompress import decompress
from streams.engine.records import UnreadableRecord
from streams.engine.unpack import Unpacked, unpack
from streams.errors import TooLargeError
from tests.support.batch_bytes import CODECS, COUNT_AT, GZIP, LZ4, NONE, SNAPPY, ZSTD, batch, sealed

PACK = {
    GZIP: gzip_encode,
    SNAPPY: lambda data: bytes(snappy_encode(data, xerial_compatible=False)),
    "xerial": snappy_encode,
    LZ4: lz4_encode,
    ZSTD: zstd_encode,
}
MB = 1_048_576


def read(data: bytes, limits: BatchLimits, since: int = 0) -> Unpacked:
    return unpack(
        cut(data, limits),
        topic="t",
        partition=3,
        fetch_offset=since,
        base=0,
        aborted=(),
        rescue=read_patiently,
        most_bytes=limits.unpacked_bytes,
    )


@pytest.mark.parametrize("kind", PACK)
@given(data=st.binary(max_size=3000), times=st.integers(1, 60))
def test_what_fits_is_unpacked_and_what_does_not_is_refused(kind: object, data: bytes, times: int) -> None:
    plain = data * times
    codec, packed = SNAPPY if kind == "xerial" else int(str(kind)), PACK[kind](plain)  # type: ignore[index,no-untyped-call]
    assert decompress(codec, packed, len(plain)) == plain
    if plain:
        with pytest.raises(TooLargeError, match=f"more than {len(plain) - 1} bytes"):
            decompress(codec, packed, len(plain) - 1)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD, 5, 7])
@given(data=st.binary(max_size=200))
def test_of_any_bytes_something_comes_or_a_value_error(codec: int, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(decompress(codec, data, 1000)) <= 1000


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("cut_off", [1, 5])
def test_what_is_cut_off_is_refused(kind: object, cut_off: int) -> None:
    codec = SNAPPY if kind == "xerial" else int(str(kind))
    with pytest.raises(ValueError, match=r"cut off|damaged"):
        decompress(codec, PACK[kind](b"some text" * 5)[:-cut_off], 1000)  # type: ignore[index,no-untyped-call]


def test_gzip_of_several_members_counts_as_one() -> None:
    packed = gzip_encode(b"a" * 600) + gzip_encode(b"b" * 600)
    assert decompress(GZIP, packed, 1200) == b"a" * 600 + b"b" * 600
    with pytest.raises(TooLargeError):
        decompress(GZIP, packed, 1199)


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_beyond_the_limit_is_one_unreadable_record_and_the_next_is_read(codec: int) -> None:
    data = batch([bytes(40_000)] * 5, at=0, codec=codec) + batch([b"good"], at=5, codec=codec)
    found = read(data, BatchLimits(150_000, 100))
    if codec == NONE:  # the broker's own limit is for these
        assert len(found.records) == 5
        assert found.next_offset == 5
        found = read(batch([b"good"], at=5), BatchLimits(150_000, 100), 5)
        (good,) = found.records
    else:
        bad, good = found.records
        assert isinstance(bad, UnreadableRecord) and (bad.offset, bad.last_offset) == (0, 4)
        assert bad.problem == "the batch is too large: it unpacks to more than 150000 bytes"
    assert good.value == b"good" and found.next_offset == 6


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_of_too_many_records_is_not_read(codec: int) -> None:
    data = batch([b"x"] * 101, codec=codec) + batch([b"good"], at=101, codec=codec)
    bad, good = read(data, BatchLimits(MB, 100)).records
    assert isinstance(bad, UnreadableRecord) and bad.last_offset == 100
    assert bad.problem == "the batch is too large: it holds 101 records; at most 100 are read"
    assert good.value == b"good"


def test_a_count_that_lies_takes_no_memory() -> None:
    data = bytearray(batch([b"one"]))
    data[COUNT_AT : COUNT_AT + 4] = (2**31 - 1).to_bytes(4, "big")
    (bad,) = read(sealed(data), BatchLimits()).records
    assert isinstance(bad, UnreadableRecord)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_an_old_format_has_the_same_limit(magic: int, codec: int) -> None:
    if (magic, codec) == (0, LZ4):
        pytest.skip("Kafka never wrote it rightly (KAFKA-3160)")
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    builder.append(0, timestamp=1_000, key=None, value=bytes(200_000))
    data = bytes(builder.build())
    (bad,) = read(data, BatchLimits(100_000, 100)).records
    assert isinstance(bad, UnreadableRecord) and "too large" in bad.problem
    (good,) = read(data, BatchLimits(300_000, 100)).records
    assert good.value == bytes(200_000)


def test_of_many_batches_within_the_limit_only_some_are_unpacked_at_once() -> None:
    data = b"".join(batch([bytes(90_000)], at=n, codec=ZSTD) for n in range(10))
    limits, since, turns = BatchLimits(100_000, 100), 0, 0
    offsets = []
    while since < 10:
        found = read(data, limits, since)
        offsets += [record.offset for record in found.records]
        assert sum(len(record.value or b"") for record in found.records) <= 200_000 and found.size >= 90_000
        since, turns = found.next_offset, turns + 1
        data = data[sum(len(batch([bytes(90_000)], at=n, codec=ZSTD)) for n in range(len(found.records))) :]
    assert offsets == list(range(10)) and turns == 5


@cache
def bomb(kind: str) -> bytes:
    """A batch of one record of zeros: hundreds of megabytes, packed as a hostile producer would."""
    size = 400 * MB
    if kind == "gzip":
        packer = zlib.compressobj(9, wbits=31)
        body = b"".join(packer.compress(bytes(MB)) for _ in range(size // MB)) + packer.flush()
        return sealed(bytearray(batch([b""])[:61] + body), codec=GZIP)
    body = bytes(cramjam.zstd.compress(bytes(size)) if kind == "zstd" else cramjam.lz4.compress(bytes(size)))
    return sealed(bytearray(batch([b""])[:61] + body), codec=ZSTD if kind == "zstd" else LZ4)


@pytest.mark.parametrize("kind", ["gzip", "lz4", "zstd"])
@pytest.mark.slow
def test_a_bomb_is_refused_in_the_memory_of_its_limit(kind: str) -> None:
    program = """
import resource, sys
from streams.engine.kafka.batches import cut, read_patiently
from streams.engine.unpack import unpack
data = sys.stdin.buffer.read()
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
found = unpack(cut(data), topic="t", partition=0, fetch_offset=0, base=0, aborted=(), rescue=read_patiently)
print(found.records[0].problem, peak() - before, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", program], input=bomb(kind), capture_output=True, check=True)
    problem, grown = done.stdout.decode().split("|")
    assert problem == "the batch is too large: it unpacks to more than 67108864 bytes"
    assert int(grown) < 200, "megabytes"
