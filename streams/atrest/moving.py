"""One pass over a partition, in small steps: what is not under the current keys is sealed anew, and what a kill left is cleared away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from streams.atrest.partition import PartitionSeal
from streams.atrest.sealed import DataKey
from streams.engine.state import Store

_LOOKED = 10
"""So many times more values are looked at in a step than are sealed anew: to look is cheap."""


class Pass:
    """First all values, then all data keys. Between two steps anything may be written: that is under the current keys anyway."""

    def __init__(self) -> None:
        self._after: bytes | None = None
        self._are_values_done = False
        self._names: Iterator[bytes] | None = None
        self.is_done = False
        """Set by whoever has written what came last."""
        self.is_at_end = False

    def next_values(self, store: Store, partition: int, seal: PartitionSeal, most: int) -> dict[bytes, bytes | None] | None:
        """Values to write anew, at most ``most``, as they are; what can't be opened any more, to delete. None once all were looked at."""
        if self._are_values_done:
            return None
        rows = store.scan(partition, self._after, most * _LOOKED)
        changes: dict[bytes, bytes | None] = {}
        for key, data in rows:
            if seal.is_due(key, data):
                changes[key] = seal.open(key, data)
            self._after = key
            if len(changes) == most:
                return changes
        self._are_values_done = len(rows) < most * _LOOKED
        return changes

    def next_keys(self, store: Store, partition: int, seal: PartitionSeal, most: int) -> dict[bytes, tuple[DataKey, ...]]:
        """Data keys to write anew, or to overwrite with nothing."""
        if self._names is None:
            self._names = iter(list(seal.records))
        names = list(islice(self._names, most))
        values = store.get_many(partition, names)
        found = {name: seal.rewritten(name, values.get(name)) for name in names if name in seal.records}
        self.is_at_end = len(names) < most
        return {name: keys for name, keys in found.items() if keys is not None}
