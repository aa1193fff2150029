"""Caches the vectors of recent texts, limited in bytes."""

from __future__ import annotations

import sys

from cachetools import LRUCache

from encoders.engines.engine import Vectors

_OVERHEAD = 250
"""Bytes of an entry beside its text and numbers: the key's tuple, the array's header, the dictionary's links (measured roughly)."""


class VectorCache:
    """Least recently used first to go. For one thread. Keys hold the model's version, so that several models may share it."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: LRUCache[tuple[str, str], tuple[int, Vectors]] = LRUCache(max_bytes, getsizeof=lambda entry: int(entry[0]))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Held now, overhead included."""
        return int(self._entries.currsize)

    def get(self, version: str, text: str) -> Vectors | None:
        """float32 [dimension], or None. Counts as a use."""
        entry = self._entries.get((version, text))
        return None if entry is None else entry[1]

    def put(self, version: str, text: str, vector: Vectors) -> None:
        """Keeps a copy: a view of one row would keep its whole batch. What is larger than the whole cache is not kept."""
        size = sys.getsizeof(text) + vector.nbytes + _OVERHEAD
        if size <= self._entries.maxsize:
            self._entries[(version, text)] = (size, vector.copy())
