"""Bytes as brokers send them, good and bad: nothing stops the reader, and nothing readable is lost beside what is not."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.kafka.batches import cut, encode_rows, read_patiently
from streams.engine.records import MemoryRecord, UnreadableRecord
from streams.engine.unpack import Unpacked, unpack
from tests.support.batch_bytes import ATTRIBUTES_AT, CODECS, CONTROL, COUNT_AT, GZIP, LZ4, NONE, SNAPPY, TRANSACTIONAL, ZSTD, batch, changed


def marker(at: int, producer: int, *, commits: bool) -> bytes:
    """What ends a transaction."""
    builder = DefaultRecordBatchBuilder(2, NONE, True, producer, 0, -1, 1 << 20)
    builder.append(0, timestamp=1_000, key=struct.pack(">hh", 0, commits), value=bytes(6), headers=[])
    return changed(bytes(builder.build()), at=at, flags=CONTROL)


def read(data: bytes, *, since: int = 0, base: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> Unpacked:
    return unpack(cut(data), topic="t", partition=3, fetch_offset=since, base=base, aborted=aborted, rescue=read_patiently)


def values_of(unpacked: Unpacked) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.value) for record in unpacked.records if not isinstance(record, UnreadableRecord)]


def unreadable(unpacked: Unpacked) -> list[tuple[int, int]]:
    return [(record.offset, record.last_offset) for record in unpacked.records if isinstance(record, UnreadableRecord)]


@pytest.mark.parametrize("codec", CODECS)
def test_every_compression_is_read(codec: int) -> None:
    found = read(batch([b"one", b"two" * 1_000], codec=codec, headers=[("h", b"v")]))
    assert found.records == [
        MemoryRecord("t", 3, 0, 1_000, b"key", b"one", (("h", b"v"),)),
        MemoryRecord("t", 3, 1, 1_001, b"key", b"two" * 1_000, (("h", b"v"),)),
    ]
    assert found.next_offset == 2


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4])
def test_formats_before_kafka_0_11_are_read(magic: int, codec: int) -> None:
    if magic == 0 and codec == LZ4:
        pytest.skip("Kafka never wrote it rightly (KAFKA-3160)")
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    for index in range(3):
        builder.append(index, timestamp=1_000, key=None, value=b"%d" % index)
    data = bytearray(builder.build())
    if codec:
        data[:8] = struct.pack(">q", 2)  # as a broker sets it: the offset of the last record within
    assert values_of(read(bytes(data) + batch([b"new"], at=3))) == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"new")]


def test_a_damaged_batch_of_an_old_format_is_passed_over() -> None:
    builder = LegacyRecordBatchBuilder(1, GZIP, 1 << 20)
    for index in range(3):
        builder.append(index, timestamp=1_000, key=None, value=b"%d" % index)
    data = bytearray(builder.build())
    data[:8] = struct.pack(">q", 2)  # as a broker sets it: the offset of the last record within
    data[-12:-4] = bytes(8)
    found = read(bytes(data) + batch([b"new"], at=3))
    assert (unreadable(found), values_of(found), found.next_offset) == ([(0, 2)], [(3, b"new")], 4)


def compressed(raw: bytes, codec: int) -> bytes:
    """The batch as a producer that compresses would send it."""
    encode = {GZIP: gzip_encode, SNAPPY: snappy_encode, LZ4: lz4_encode, ZSTD: zstd_encode}.get(codec, bytes)
    data = raw[:61] + encode(raw[61:])
    return changed(data[:8] + struct.pack(">i", len(data) - 12) + data[12:], codec=codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_that_is_not_utf8_touches_its_own_record_only(codec: int) -> None:
    builder = DefaultRecordBatchBuilder(2, NONE, False, -1, -1, 0, 1 << 20)
    for index, name in enumerate(("fine1", "wrong", "fine3")):
        builder.append(index, timestamp=5, key=None, value=b"%d" % index, headers=[(name, b"")])
    bad = compressed(changed(bytes(builder.build()), at=10, replace=(b"wrong", b"wr\xff\xfeg")), codec)
    found = read(batch([b"before"], at=9) + bad + batch([b"after"], at=13), since=9, base=100)
    assert values_of(found) == [(109, b"before"), (110, b"0"), (112, b"2"), (113, b"after")]
    assert (unreadable(found), found.next_offset) == ([(111, 111)], 14)


def test_what_is_readable_of_a_record_with_a_bad_header_is_kept_for_its_dead_letter() -> None:
    raw = changed(batch([b"value"], headers=[("wrong", b"content")]), replace=(b"wrong", b"wr\xff\xfeg"))
    (record,) = read(raw).records
    assert isinstance(record, UnreadableRecord)
    assert (record.key, record.value, record.headers) == (b"key", b"value", (("wr\\xff\\xfeg", b"content"),))
    assert record.problem == "the name of a header is not UTF-8"


def test_a_wrong_checksum_refuses_the_batch_alone() -> None:
    bad = bytearray(batch([b"b", b"c"], at=1))
    bad[-3] ^= 1
    found = read(batch([b"a"]) + bytes(bad) + batch([b"d"], at=3))
    assert (values_of(found), unreadable(found), found.next_offset) == ([(0, b"a"), (3, b"d")], [(1, 2)], 4)


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_compression_refuses_the_batch_alone(codec: int) -> None:
    found = read(batch([b"a"]) + changed(batch([b"b", b"c"], at=1), codec=codec) + batch([b"d"], at=3))
    assert (values_of(found), unreadable(found), found.next_offset) == ([(0, b"a"), (3, b"d")], [(1, 2)], 4)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_bytes_that_were_never_compressed_that_way_refuse_the_batch_alone(codec: int) -> None:
    found = read(changed(batch([b"b" * 50, b"c"]), codec=codec) + batch([b"d"], at=2))
    assert (values_of(found), unreadable(found), found.next_offset) == ([(2, b"d")], [(0, 1)], 3)


def test_a_count_of_records_that_is_not_true_does_not_stop_the_reader() -> None:
    raw = bytearray(batch([b"a", b"b"]))
    raw[COUNT_AT : COUNT_AT + 4] = struct.pack(">i", 2_000_000_000)
    found = read(changed(bytes(raw)) + batch([b"c"], at=2))
    assert (values_of(found)[-1], found.next_offset) == ((2, b"c"), 3)


def test_reading_begins_in_the_middle_of_a_batch() -> None:
    whole = batch([b"a", b"b", b"c"], at=5)
    assert values_of(read(whole, since=6)) == [(6, b"b"), (7, b"c")]
    damaged = bytearray(whole)
    damaged[-3] ^= 1
    assert unreadable(read(bytes(damaged), since=6)) == [(6, 7)]


def test_a_batch_that_is_cut_off_waits_for_the_next_fetch() -> None:
    whole, half = batch([b"a"]), batch([b"b"], at=1)
    for kept in range(len(half)):
        found = read(whole + half[:kept])
        assert (values_of(found), found.next_offset) == ([(0, b"a")], 1)


def test_only_committed_transactions_are_read_and_markers_are_passed_over() -> None:
    data = (
        batch([b"a1"], at=0, producer=1, flags=TRANSACTIONAL)
        + batch([b"b1"], at=1, producer=2, flags=TRANSACTIONAL)
        + batch([b"plain"], at=2)
        + marker(3, 1, commits=False)
        + batch([b"a2"], at=4, producer=1, flags=TRANSACTIONAL)
        + marker(5, 2, commits=True)
        + marker(6, 1, commits=True)
    )
    found = read(data, aborted=[(1, 0)])
    assert (values_of(found), found.next_offset) == ([(1, b"b1"), (2, b"plain"), (4, b"a2")], 7)


def test_a_transaction_that_was_aborted_before_the_fetch_began_is_left_out_too() -> None:
    data = batch([b"a"], at=7, producer=1, flags=TRANSACTIONAL) + marker(8, 1, commits=False) + batch([b"b"], at=9)
    assert values_of(read(data, since=7, aborted=[(1, 2)])) == [(9, b"b")]


def test_a_hole_that_compaction_left_is_nothing_to_wait_for() -> None:
    raw = bytearray(batch([b"a"], at=10))
    raw[23:27] = struct.pack(">i", 4)  # the batch ends at 14, whatever is left of it
    assert read(changed(bytes(raw)), since=10).next_offset == 15


rows = st.lists(
    st.tuples(
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=20)), max_size=3),
    ),
    min_size=1,
    max_size=20,
)


@given(rows, st.integers(0, 1 << 40), st.integers(0, 1 << 50))
def test_what_is_written_is_what_is_read(
    written: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]], at: int, base: int
) -> None:
    raw = changed(encode_rows(written, (7, 0), 3, 1_234), at=at)
    found = read(raw, since=at, base=base)
    assert found.records == [
        MemoryRecord("t", 3, at + base + index, 1_234, key, value, tuple(headers)) for index, (key, value, headers) in enumerate(written)
    ]
    patient = read_patiently(cut(raw)[0], "t", 3)
    assert patient is not None
    assert [record._replace(offset=record.offset + base) for record in patient if isinstance(record, MemoryRecord)] == found.records


@given(st.data(), st.sampled_from(CODECS))
def test_no_byte_that_is_changed_stops_the_reader(data: st.DataObject, codec: int) -> None:
    """Neither with a wrong checksum nor, as a hostile producer sends it, with a right one."""
    raw = bytearray(batch([b"one", b"two", b"three"], codec=codec, headers=[("name", b"content")]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(ATTRIBUTES_AT, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    is_right = data.draw(st.booleans())
    found = read((changed(bytes(raw)) if is_right else bytes(raw)) + batch([b"after"], at=1 << 40))
    assert found.next_offset == (1 << 40) + 1
    assert found.records[-1].value == b"after"
    assert all(isinstance(record, (MemoryRecord, UnreadableRecord)) for record in found.records)


@pytest.mark.parametrize("delta", [0x09, 0x00, 0x04, 0x06, 0x7E])
def test_a_batch_whose_offsets_do_not_rise_is_refused_whole(delta: int) -> None:
    """Back by five, twice the same, the next one's, past the end: a record would be handled twice, or passed over in silence."""
    raw = bytearray(batch([b"a", b"b", b"c"], at=100))
    raw[raw.rindex(b"\x02\x06key")] = delta  # the second record's; the length of the key follows
    found = read(changed(bytes(raw)) + batch([b"d"], at=103), since=100)
    assert (values_of(found), unreadable(found), found.next_offset) == ([(103, b"d")], [(100, 102)], 104)


def test_a_rescue_that_fails_itself_stops_nothing() -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    whole = batch([b"a", b"b"], at=5)
    damaged = changed(whole[:-3] + b"\xff\xff\xff")
    data = damaged + batch([b"c"], at=7)
    found = unpack(cut(data), topic="t", partition=3, fetch_offset=5, base=0, aborted=(), rescue=fails)
    assert unreadable(found) == [(5, 6)] and values_of(found) == [(7, b"c")]
