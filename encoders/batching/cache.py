"""Vectors of texts seen lately, within a bound of bytes."""

from __future__ import annotations

import sys
from collections import OrderedDict

from encoders.engines.engine import Vectors

_OVERHEAD = 250
"""Bytes of an entry beside its text and numbers: the key's tuple, the array's header, the dictionary's links (measured roughly)."""


class VectorCache:
    """Least recently used first to go. For one thread. Keys hold the model's version, so that several models may share it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
        self.bytes = 0
        """Held now, overhead included."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, version: str, text: str) -> Vectors | None:
        """float32 [dimension], or None. Counts as a use."""
        key = (version, text)
        vector = self._entries.get(key)
        if vector is not None:
            self._entries.move_to_end(key)
        return vector

    def put(self, version: str, text: str, vector: Vectors) -> None:
        """Keeps a copy: a view of one row would keep its whole batch."""
        key = (version, text)
        old = self._entries.pop(key, None)
        if old is not None:
            self.bytes -= _size(text, old)
        self._entries[key] = vector.copy()
        self.bytes += _size(text, vector)
        while self.bytes > self._max_bytes:
            (_, gone), least = self._entries.popitem(last=False)
            self.bytes -= _size(gone, least)


def _size(text: str, vector: Vectors) -> int:
    return sys.getsizeof(text) + vector.nbytes + _OVERHEAD
