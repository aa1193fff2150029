"""Local stores for Faust's tables, replacing Faust's own."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores import memory, rocksdb
from faust.tables.table import Table
from faust.types import TP, EventT

from streams.engine.state import MemoryStore
from streams.topics import COMPACTED

log = logging.getLogger(__name__)

_DAMAGED = ("Corruption:", "No such file or directory")
"""Parts of RocksDB's messages for damaged or missing files of a database. Other reasons (a lock, a full disk, a folder of another
owner) must not cause a removal.
"""


class RebuiltRocks(rocksdb.Store):
    """Faust's RocksDB store. If the files of a database can't be opened when its partition is assigned, the database is rebuilt. This
    is safe then, because recovery follows, and the changelog holds all its content. At any other time nothing would restore the
    content, so nothing is removed.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._being_assigned: set[int] = set()

    async def _try_open_db_for_partition(self, partition: int, *args: Any, **options: Any) -> Any:
        self._being_assigned.add(partition)
        try:
            return await super()._try_open_db_for_partition(partition, *args, **options)
        finally:
            self._being_assigned.discard(partition)

    def _open_for_partition(self, partition: int) -> Any:
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            if partition not in self._being_assigned or not any(sign in str(error) for sign in _DAMAGED):
                raise
            log.error("the local state of %s, partition %d, is damaged; it is rebuilt from its changelog", self.table_name, partition)
            shutil.rmtree(self.partition_path(partition), ignore_errors=True)  # what is left of it is met, and told, by the next line
            return super()._open_for_partition(partition)


class PartitionedMemory(memory.Store[bytes, bytes]):
    """A memory store with one dictionary per partition. It drops a partition that another worker owns.

    Faust's own memory store keeps all partitions in one dictionary, so the partition of a key is unknown.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions = MemoryStore()

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]) -> None:
        for event in batch:
            message = event.message
            self.partitions.put_many(message.partition, {message.key or b"": message.value}, None)

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0) -> None:
        for tp in revoked | newly_assigned:
            if tp.topic in self.table.changelog_topic.topics:
                self.partitions.drop(tp.partition)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Partitions are dropped when they are revoked."""


class EngineTable(Table[bytes, bytes]):
    """A table whose local half is one of these."""

    def _new_store(self) -> Any:
        in_memory = self.app.conf.store.scheme == "memory"
        store = PartitionedMemory if in_memory else RebuiltRocks
        return store(
            "memory://" if in_memory else "rocksdb://",
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            options=self.options,
        )


def declare(app: faust.App, name: str) -> Any:
    """A table of bytes to bytes, kept where the app's ``store`` says."""
    # Bytes as types, not as a schema: only then does Faust read the changelog as it was written.
    return app.tables.add(EngineTable(app, name=name, key_type=bytes, value_type=bytes, extra_topic_configs=COMPACTED))
