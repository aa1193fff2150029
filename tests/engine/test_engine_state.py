"""State tables on real RocksDB files: the changelog first, the fence between, and a file that is damaged is nobody's record's fault."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import faust
import pytest
import torch
from faust.types import TP

from streams.engine import faults as faults_module
from streams.engine import state as module
from streams.engine.faults import is_infrastructure
from streams.engine.faust.stores import declare
from streams.engine.state import MemoryStore, NoState, RocksStore, StateTable, Store
from streams.errors import NotOwner, StateDamaged, TransientError


def test_doctests() -> None:
    assert doctest.testmod(module).failed == doctest.testmod(faults_module).failed == 0


class Changelog:
    """A ChangelogWriter; ``seen`` shows what was in the store when it wrote."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self.store = store
        self.rows: list[tuple[bytes, bytes | None]] = []
        self.seen: list[dict[bytes, bytes]] = []
        self.trouble: Exception | None = None

    async def write_changelog(self, topic: str, partition: int, changes: Any, fence: Callable[[], None]) -> int | None:
        fence()
        self.seen.append(dict(self.store().items(partition)))
        if self.trouble is not None:
            raise self.trouble
        self.rows += list(changes)
        return len(self.rows) - 1


def rocks(folder: Path) -> Any:
    """Faust's own store of a table, as a stage has it."""
    app = faust.App("test", store="rocksdb://", datadir=str(folder), broker="kafka://localhost")
    return declare(app, "table").data


@pytest.fixture(params=["rocksdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    faust_store = rocks(tmp_path)
    yield RocksStore(faust_store)
    for db in faust_store._dbs.values():
        db.close()


def owner() -> None:
    """A fence that lets everything through."""


def table_of(store: Store) -> tuple[StateTable, Changelog]:
    changelog = Changelog(lambda: store)
    return StateTable(store, "log", changelog, "the-table"), changelog


def test_partitions_are_kept_apart_and_none_deletes(store: Store) -> None:
    table, _ = table_of(store)
    asyncio.run(table.apply(0, {b"a": b"1", b"b": b"2"}, owner))
    asyncio.run(table.apply(1, {b"a": b"other"}, owner))
    asyncio.run(table.apply(0, {b"b": None}, owner))
    assert dict(table.items(0)) == {b"a": b"1"}
    assert table.view(1).get_many([b"a", b"b"]) == {b"a": b"other"}
    assert table.view(0).get_many([]) == {}


def test_the_changelog_is_acknowledged_before_the_store_is_written(store: Store) -> None:
    table, changelog = table_of(store)
    asyncio.run(table.apply(0, {b"a": b"1"}, owner))
    assert changelog.seen == [{}]
    changelog.trouble = TransientError("no answer")
    with pytest.raises(TransientError):
        asyncio.run(table.apply(0, {b"a": b"2"}, owner))
    assert dict(table.items(0)) == {b"a": b"1"}


def test_a_partition_lost_while_the_changelog_was_written_is_not_written_to(store: Store) -> None:
    table, changelog = table_of(store)

    def fence() -> None:
        if changelog.rows:
            raise NotOwner("given away")

    with pytest.raises(NotOwner):
        asyncio.run(table.apply(0, {b"a": b"1"}, fence))
    assert changelog.rows == [(b"a", b"1")], "the successor finds it there"
    assert dict(table.items(0)) == {}


def test_the_offset_is_in_the_same_write_as_the_state(tmp_path: Path) -> None:
    faust_store = rocks(tmp_path)
    table, _ = table_of(RocksStore(faust_store))
    asyncio.run(table.apply(0, {b"a": b"1", b"b": b"2"}, owner))
    assert faust_store._db_for_partition(0).get(faust_store.offset_key) == b"1"
    assert sorted(table.items(0)) == [(b"a", b"1"), (b"b", b"2")], "the offset is no entry"
    for db in faust_store._dbs.values():
        db.close()


def fill(folder: Path) -> list[Path]:
    """A table of some size on disk, closed; its data files."""
    faust_store = rocks(folder)
    table, _ = table_of(RocksStore(faust_store))
    for n in range(20):
        asyncio.run(table.apply(0, {b"%d/%d" % (n, k): bytes(range(256)) * 8 for k in range(200)}, owner))
    for db in faust_store._dbs.values():
        db.flush()
        db.close()
    return sorted(folder.rglob("*.sst"))


def test_damaged_data_stops_the_stage_and_names_the_folder(tmp_path: Path) -> None:
    for path in fill(tmp_path):
        data = bytearray(path.read_bytes())
        for at in range(100, len(data) - 2_000, 97):
            data[at] ^= 0xFF
        path.write_bytes(data)
    table, _ = table_of(RocksStore(rocks(tmp_path)))
    with pytest.raises(StateDamaged, match=r"the local state the-table, partition 0, .*delete that folder") as raised:
        table.view(0).get_many([b"%d/%d" % (n, k) for n in range(20) for k in range(200)])
    assert is_infrastructure(raised.value) is False, "it is fatal, not to be tried again"


def test_a_missing_data_file_stops_the_stage_and_names_the_folder(tmp_path: Path) -> None:
    for path in fill(tmp_path):
        path.unlink()
    table, _ = table_of(RocksStore(rocks(tmp_path)))
    with pytest.raises(StateDamaged, match="rebuilt from its changelog"):
        list(table.items(0))


def test_a_full_disk_is_tried_again() -> None:
    class Full(MemoryStore):
        def put_many(self, partition: int, changes: Any, changelog_offset: int | None) -> None:
            raise OSError(28, "No space left on device")

    table, _ = table_of(Full())
    with pytest.raises(TransientError, match="the disk of the-table is full"):
        asyncio.run(table.apply(0, {b"a": b"1"}, owner))


def test_a_stage_without_a_table_may_not_return_state() -> None:
    table = NoState()
    asyncio.run(table.apply(0, {}, owner))
    with pytest.raises(TypeError):
        asyncio.run(table.apply(0, {b"a": b"1"}, owner))
    assert table.view(0).get_many([b"a"]) == {} and list(table.items(0)) == []


def real_lack_of_memory() -> BaseException:
    try:
        torch.empty(1 << 60, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError("this machine has a lot of memory")


def caused_by(cause: BaseException) -> BaseException:
    try:
        raise ValueError("encoding failed") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(24, "Too many open files"),
        ConnectionResetError(),
        BrokenProcessPool("a child died"),
        real_lack_of_memory(),
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: device-side assert triggered"),
        caused_by(MemoryError()),
        caused_by(caused_by(real_lack_of_memory())),
    ],
    ids=lambda error: f"{type(error).__name__}: {str(error)[:30]}",
)
def test_what_the_machine_lacks_is_not_the_records_fault(error: BaseException) -> None:
    assert is_infrastructure(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        KeyError("item"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        RuntimeError("bad shape"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_record_causes_is_the_records_fault(error: BaseException) -> None:
    assert not is_infrastructure(error)


def test_causes_that_go_in_a_circle_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_infrastructure(first)


def test_a_store_tells_its_size(store: Store) -> None:
    assert store.size(0).values == 0
    store.put_many(0, {b"k%04d" % n: b"v" * 100 for n in range(500)}, 1)
    store.put_many(0, {b"k0000": None, b"k0001": b"v"}, 2)
    size = store.size(0)
    assert 400 <= size.values <= 510 and size.bytes >= 40_000, "RocksDB estimates"
    if isinstance(store, MemoryStore):
        assert size == (499, 498 * 105 + 6)
        store.drop(0)
        assert store.size(0) == (0, 0)


def test_a_partition_is_cleared_and_remembers_its_changelog(tmp_path: Path) -> None:
    faust_store = rocks(tmp_path)
    store = RocksStore(faust_store)
    try:
        for partition in (0, 1):
            store.put_many(partition, {b"%05d" % n: b"x" for n in range(25_000)}, 24_999)
            assert store.changelog(partition) == 0
            store.set_changelog(partition, 7)
        assert store.changelog(0) == 7
        assert len(list(store.items(0))) == len(store.scan(0, None, 99_999)) == 25_000, "it is no value of the table"
        store.clear(0)
        assert list(store.items(0)) == [] and store.changelog(0) == 0
        assert faust_store.persisted_offset(TP("changelog", 0)) is None
        assert len(list(store.items(1))) == 25_000 and faust_store.persisted_offset(TP("changelog", 1)) == 24_999
    finally:
        for db in faust_store._dbs.values():
            db.close()
