"""How far a read model has read its topic."""

from __future__ import annotations

from collections.abc import Sequence

from streams.engine.records import SourceRecord


class ReadUpTo:
    """By partition, the offset after the last record taken in; a record that comes again changes nothing.

    >>> from streams.engine.records import MemoryRecord
    >>> read = ReadUpTo()
    >>> read.take([MemoryRecord("t", 2, 6, 0, None, None)])
    >>> read.following
    [0, 0, 7]
    """

    def __init__(self) -> None:
        self._following: dict[int, int] = {}

    def take(self, records: Sequence[SourceRecord]) -> None:
        """These were taken in, also those that could not be used."""
        known = self._following
        for record in records:
            if record.offset >= known.get(record.partition, 0):
                known[record.partition] = record.offset + 1

    @property
    def following(self) -> list[int]:
        """By partition, up to the last one that held a record; 0 where none came."""
        return [self._following.get(partition, 0) for partition in range(max(self._following, default=-1) + 1)]
