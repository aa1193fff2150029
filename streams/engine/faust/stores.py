"""Faust's tables with the product's own local halves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores import memory
from faust.tables.table import Table
from faust.types import TP, EventT

from streams.engine.state import MemoryStore


class PartitionedMemory(memory.Store[bytes, bytes]):
    """Faust's own memory store keeps all partitions in one dictionary, so nobody can tell whose a key is. This one keeps them apart, and
    lets go of a partition that another worker has."""

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


class MemoryTable(Table[bytes, bytes]):
    """A table whose local half is PartitionedMemory."""

    def _new_store(self) -> Any:
        return PartitionedMemory(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            options=self.options,
        )


def declare(app: faust.App, name: str, *, in_memory: bool) -> Any:
    """A table of bytes to bytes."""
    # Bytes as types, not as a schema: only then does Faust read the changelog as it was written.
    if not in_memory:
        return app.Table(name, key_type=bytes, value_type=bytes)
    return app.tables.add(MemoryTable(app, name=name, key_type=bytes, value_type=bytes))
