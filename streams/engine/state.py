"""A stage's table: Faust declares, recovers and places it; this writes it batch by batch.

Order of a write: the changelog record is acknowledged by the broker, then the local store is written together with
the changelog offset. So the local store never runs ahead of the changelog, whatever is killed when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from rocksdict import WriteBatch

from streams.engine.outputs import OutputWriter


class Store(Protocol):
    """The local half of a table."""

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...
    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...
    def put_many(self, partition: int, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None: ...


class RocksStore:
    """Faust's RocksDB store, one database a partition, through ``rocksdict``."""

    def __init__(self, faust_store: Any) -> None:
        self._faust = faust_store

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        db = self._faust._db_for_partition(partition)
        return {key: value for key, value in zip(keys, db.get(list(keys)), strict=True) if value is not None}

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._faust._db_for_partition(partition).items():
            if key != self._faust.offset_key:
                yield key, value

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
    """Faust's in-memory store: recovered whole from the changelog at every start."""

    def __init__(self, faust_store: Any) -> None:
        self._faust = faust_store
        self._owner: dict[bytes, int] = {}

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        data = self._faust.data
        return {key: data[key] for key in keys if key in data}

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        # Faust's memory store does not know partitions; what recovery brought is everybody's until it is written.
        return ((key, value) for key, value in list(self._faust.data.items()) if self._owner.get(key, partition) == partition)

    def put_many(self, partition: int, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        data = self._faust.data
        for key, value in changes.items():
            if value is None:
                data.pop(key, None)
                self._owner.pop(key, None)
            else:
                data[key] = value
                self._owner[key] = partition


class PartitionView:
    """The StateView of one partition."""

    def __init__(self, store: Store, partition: int) -> None:
        self._store = store
        self._partition = partition

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return self._store.get_many(self._partition, keys) if keys else {}


class StateTable:
    """Store and changelog together."""

    def __init__(self, store: Store, changelog_topic: str, writer: OutputWriter) -> None:
        self._store = store
        self._changelog_topic = changelog_topic
        self._writer = writer

    def view(self, partition: int) -> PartitionView:
        return PartitionView(self._store, partition)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of the partition."""
        return self._store.items(partition)

    async def apply(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """Write the changes; raises TransientError where the changelog was not acknowledged."""
        if not changes:
            return
        offset = await self._writer.write_changelog(self._changelog_topic, partition, changes.items())
        self._store.put_many(partition, changes, offset)


class NoState:
    """The table of a stage that keeps none."""

    def view(self, partition: int) -> StatelessView:
        return StatelessView()

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    async def apply(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        if changes:
            raise TypeError("a stage without a table returned state")


class StatelessView:
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {}
