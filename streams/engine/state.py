"""The table of a stage. Faust declares, recovers and places it; this module writes it batch by batch.

Order of a write: the broker acknowledges the changelog record, then the local store is written together with the changelog offset. So
the local store is never ahead of the changelog, whatever is killed at any time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, Protocol

from rocksdict import WriteBatch

from streams.engine.records import StateView
from streams.errors import StateDamaged, TransientError, VeilstreamError


class Size(NamedTuple):
    """Of a state."""

    values: int
    bytes: int
    """Keys and values."""


class Store(Protocol):
    """The local half of a table."""

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...
    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...
    def scan(self, partition: int, after: bytes | None, most: int) -> list[tuple[bytes, bytes]]:
        """The first entries behind a key, in the order of keys; from the beginning where ``after`` is None."""
        ...

    def put_many(self, partition: int, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None: ...
    def size(self, partition: int) -> Size:
        """An estimate that costs nothing."""
        ...


_CHANGELOG = b"__veilstream\0changelog"
"""A key that no table has: those of shoppers and items have no zero byte, a stage's own begin with it."""
_AT_ONCE = 10_000
_BYTES = ("estimate-live-data-size", "cur-size-active-mem-table")


class RocksStore:
    """Faust's RocksDB store, one database a partition, through ``rocksdict``."""

    def __init__(self, faust_store: Any) -> None:
        self._faust = faust_store

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        db = self._faust._db_for_partition(partition)
        return {key: value for key, value in zip(keys, db.get(list(keys)), strict=True) if value is not None}

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._faust._db_for_partition(partition).items():
            if key not in (self._faust.offset_key, _CHANGELOG):
                yield key, value

    def scan(self, partition: int, after: bytes | None, most: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        for key, value in self._faust._db_for_partition(partition).items(from_key=after):
            if key not in (after, self._faust.offset_key, _CHANGELOG):
                found.append((key, value))
                if len(found) == most:
                    break
        return found

    def size(self, partition: int) -> Size:
        db = self._faust._db_for_partition(partition)
        numbers = [db.property_int_value(f"rocksdb.{name}") or 0 for name in ("estimate-num-keys", *_BYTES)]
        return Size(numbers[0], sum(numbers[1:]))

    def changelog(self, partition: int) -> int:
        """The incarnation of the changelog that the partition was read from; 0 where it is not known."""
        return int(self._faust._db_for_partition(partition).get(_CHANGELOG) or 0)

    def set_changelog(self, partition: int, incarnation: int) -> None:
        self._faust._db_for_partition(partition).put(_CHANGELOG, str(incarnation).encode())

    def clear(self, partition: int) -> None:
        """Remove all of a partition, and how far its changelog was read."""
        db = self._faust._db_for_partition(partition)
        while keys := list(islice(db.keys(), _AT_ONCE)):
            batch = WriteBatch(raw_mode=True)
            for key in keys:
                batch.delete(key)
            db.write(batch)

    def put_many(self, partition: int, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if changelog_offset is not None:
            batch.put(self._faust.offset_key, str(changelog_offset).encode())
        self._faust._db_for_partition(partition).write(batch)


class MemoryStore:
    """All in memory, by partition; recovered whole from the changelog at every start.

    >>> store = MemoryStore()
    >>> store.put_many(0, {b"a": b"1", b"b": None}, None); store.put_many(1, {b"c": b"2"}, None)
    >>> dict(store.items(0)), store.get_many(1, [b"a", b"c"])
    ({b'a': b'1'}, {b'c': b'2'})
    """

    def __init__(self) -> None:
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._bytes: dict[int, int] = {}
        self._ordered: dict[int, list[bytes]] = {}
        """The keys as they were when ``scan`` last began."""

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        data = self._partitions.get(partition, {})
        return {key: data[key] for key in keys if key in data}

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self._partitions.get(partition, {}).items()))

    def scan(self, partition: int, after: bytes | None, most: int) -> list[tuple[bytes, bytes]]:
        """As they were when it began; what is new since is left out."""
        data = self._partitions.get(partition, {})
        if after is None or partition not in self._ordered:
            self._ordered[partition] = sorted(data)
        keys = self._ordered[partition]
        begin = 0 if after is None else bisect_right(keys, after)
        found: list[tuple[bytes, bytes]] = []
        for place in range(begin, len(keys)):
            if keys[place] in data:
                found.append((keys[place], data[keys[place]]))
                if len(found) == most:
                    return found
        self._ordered.pop(partition, None)
        return found

    def put_many(self, partition: int, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        data, size = self._partitions.setdefault(partition, {}), self._bytes.get(partition, 0)
        for key, value in changes.items():
            before = data.pop(key, None) if value is None else data.get(key)
            size -= 0 if before is None else len(key) + len(before)
            if value is not None:
                data[key] = value
                size += len(key) + len(value)
        self._bytes[partition] = size

    def size(self, partition: int) -> Size:
        return Size(len(self._partitions.get(partition, ())), self._bytes.get(partition, 0))

    def drop(self, partition: int) -> None:
        """Another worker has the partition now: what is here of it grows old."""
        self._partitions.pop(partition, None)
        self._bytes.pop(partition, None)
        self._ordered.pop(partition, None)


class ChangelogWriter(Protocol):
    """The part of the outputs that is needed here."""

    async def write_changelog(self, topic: str, partition: int, changes: Any, fence: Callable[[], None]) -> int | None: ...


class Table(Protocol):
    """The state of a stage, as the checkpoint sees it."""

    async def take_over(self, partition: int, generation: int) -> None:
        """The partition is this worker's, in this generation; called before anything is read. Raises TransientError."""
        ...

    def drop(self, partition: int) -> None:
        """Another worker has the partition."""
        ...

    def view(self, partition: int) -> StateView: ...
    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of the partition."""
        ...

    def keys_after(self, partition: int, after: bytes | None, most: int) -> list[bytes]:
        """The next keys in their order, at most so many; from the first where ``after`` is None."""
        ...

    async def apply(
        self, partition: int, changes: Mapping[bytes, bytes | None], fence: Callable[[], None], erased: Collection[bytes] = ()
    ) -> None:
        """Write the changes; ``erased`` as in BatchResult."""
        ...

    def size(self, partition: int) -> Size:
        """An estimate that costs nothing."""
        ...

    def is_moved(self, partition: int) -> bool:
        """Whether nothing is kept in an old form."""
        ...

    async def move(self, partition: int, fence: Callable[[], None]) -> None:
        """A small step of work that can wait: whatever is kept in an old form is written in the new one."""
        ...


class PartitionView:
    """The StateView of one partition."""

    def __init__(self, store: Store, partition: int, name: str) -> None:
        self._store = store
        self._partition = partition
        self._name = name

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        with _as_state_fault(self._name, self._partition):
            return self._store.get_many(self._partition, keys) if keys else {}


class StateTable:
    """Store and changelog together. ``name`` tells an operator which folder it is."""

    def __init__(self, store: Store, changelog_topic: str, writer: ChangelogWriter, name: str = "state") -> None:
        self._store = store
        self._changelog_topic = changelog_topic
        self._writer = writer
        self._name = name

    def view(self, partition: int) -> PartitionView:
        return PartitionView(self._store, partition, self._name)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of the partition."""
        with _as_state_fault(self._name, partition):
            yield from self._store.items(partition)

    def keys_after(self, partition: int, after: bytes | None, most: int) -> list[bytes]:
        with _as_state_fault(self._name, partition):
            return [key for key, _ in self._store.scan(partition, after, most)]

    async def take_over(self, partition: int, generation: int) -> None:
        """Nothing: the store has recovered it."""

    def drop(self, partition: int) -> None:
        """Nothing: the store looks after itself."""

    def size(self, partition: int) -> Size:
        return self._store.size(partition)

    def is_moved(self, partition: int) -> bool:
        return True

    async def move(self, partition: int, fence: Callable[[], None]) -> None:
        """Nothing: there is one form."""

    async def apply(
        self, partition: int, changes: Mapping[bytes, bytes | None], fence: Callable[[], None], erased: Collection[bytes] = ()
    ) -> None:
        """Write the changes. Raises what ``Outputs.write_changelog`` does, and StateDamaged."""
        if not changes:
            return
        offset = await self._writer.write_changelog(self._changelog_topic, partition, changes.items(), fence)
        fence()
        with _as_state_fault(self._name, partition):
            self._store.put_many(partition, changes, offset)


@contextmanager
def _as_state_fault(name: str, partition: int) -> Iterator[None]:
    """A broken store is the machine's fault, never that of the record that met it."""
    try:
        yield
    except (VeilstreamError, GeneratorExit):
        raise
    except Exception as error:
        if "no space left" in str(error).lower():
            raise TransientError(f"the disk of {name} is full") from error
        raise StateDamaged(
            f"the local state {name}, partition {partition}, can't be used ({type(error).__name__}); stop the worker, delete that folder "
            "and start it again: the state is rebuilt from its changelog"
        ) from error


class NoState:
    """The table of a stage that keeps none."""

    def view(self, partition: int) -> StatelessView:
        return StatelessView()

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def keys_after(self, partition: int, after: bytes | None, most: int) -> list[bytes]:
        return []

    async def take_over(self, partition: int, generation: int) -> None:
        """Nothing."""

    def drop(self, partition: int) -> None:
        """Nothing."""

    def size(self, partition: int) -> Size:
        return Size(0, 0)

    def is_moved(self, partition: int) -> bool:
        return True

    async def move(self, partition: int, fence: Callable[[], None]) -> None:
        """Nothing."""

    async def apply(
        self, partition: int, changes: Mapping[bytes, bytes | None], fence: Callable[[], None], erased: Collection[bytes] = ()
    ) -> None:
        if changes:
            raise TypeError("a stage without a table returned state")


class StatelessView:
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {}


class WholeState:
    """The PartitionState of a table."""

    def __init__(self, table: Table, partition: int) -> None:
        self._table, self._partition = table, partition

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._table.view(self._partition).get_many(keys)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return self._table.items(self._partition)


class OverlayView:
    """The state as it will be when the batch before is settled. A StateView."""

    def __init__(self, over: Mapping[bytes, bytes | None], table: Table, partition: int) -> None:
        self._over = over
        self._view = table.view(partition)

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        over = self._over
        if not over:
            return self._view.get_many(keys)
        found = dict(self._view.get_many([key for key in keys if key not in over]))
        found.update((key, value) for key in keys if (value := over.get(key)) is not None)
        return found
