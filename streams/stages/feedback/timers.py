"""The progress of a partition, and which of its shoppers are due when. In memory only; it can be rebuilt from the state."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from streams.stages.feedback.ledger import Progress, Shopper

EVERYTHING = 2**63 - 1
"""The source offset of a partition whose recommendations are not waited for."""


class Schedule:
    """Keys, each with the least position (a time, an offset) at which it was to be looked at."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, bytes]] = []
        self._at: dict[bytes, int] = {}

    def add(self, position: int | None, key: bytes) -> None:
        """An earlier position that the key already has stays."""
        if position is not None and position < self._at.get(key, EVERYTHING):
            self._at[key] = position
            heapq.heappush(self._heap, (position, key))

    def take(self, position: int) -> list[tuple[int, bytes]]:
        """Removes what is due at the position."""
        taken = []
        while self._heap and self._heap[0][0] <= position:
            entry = heapq.heappop(self._heap)
            if self._at.get(entry[1]) == entry[0]:
                del self._at[entry[1]]
                taken.append(entry)
        return taken


class PartitionTimers:
    """Of one partition. Every call of the handler is ``begin``, ``due``, ``done``; one that was not done never was."""

    def __init__(self, now_ms: int) -> None:
        self.last_batch_ms = now_ms
        """Real time of the last batch of either source."""
        self.last_recommendation_ms = now_ms
        """Real time of the last recommendation."""
        self.watermark_ms = 0
        self.source_offset = -1
        self.times = Schedule()
        self.offsets = Schedule()
        self.before = Progress()
        self._read = Progress()
        self._restored: tuple[Progress, Progress] = (Progress(), Progress())
        self._met: set[bool] = set()
        self._taken: tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]] = ([], [])
        self._is_done = True

    def restore(self, shoppers: Iterable[Shopper]) -> None:
        """Take the partition's progress from the states of its shoppers: the newest, and the one before the newest batch."""
        newest = max(shoppers, key=lambda s: (s.after.clean_offset, s.after.recommendation_offset), default=Shopper())
        self._restored = (newest.after, newest.before)
        self.before = self._read = newest.before
        self.watermark_ms, self.source_offset = newest.before.watermark_ms, newest.before.source_offset

    def begin(self, of_events: bool, first: int, last: int) -> None:
        """A batch that comes again finds everything as it was: its events must meet the watermark that they met before."""
        if not self._is_done or first <= (self._read.clean_offset if of_events else self._read.recommendation_offset):
            self._undo()
        self._is_done = False
        self._taken = ([], [])
        if of_events not in self._met:
            self._met.add(of_events)
            self._resume(of_events, first)
        self.before = msgspec.structs.replace(self._read, watermark_ms=self.watermark_ms, source_offset=self.source_offset)
        change = {"clean_offset" if of_events else "recommendation_offset": last}
        self._read = msgspec.structs.replace(self.before, **change)

    def due(self, watermark_ms: int, source_offset: int) -> list[bytes]:
        """Keys to look at, each once. They come back should the batch come back."""
        times, offsets = self.times.take(watermark_ms), self.offsets.take(source_offset)
        self._taken[0].extend(times)
        self._taken[1].extend(offsets)
        return sorted({key for _, key in times}.union(key for _, key in offsets))

    def done(self) -> Progress:
        """The batch has its answer; the progress after it."""
        self._is_done = True
        self._read = msgspec.structs.replace(self._read, watermark_ms=self.watermark_ms, source_offset=self.source_offset)
        return self._read

    def _undo(self) -> None:
        self.watermark_ms, self.source_offset = self.before.watermark_ms, self.before.source_offset
        self._read = self.before
        for schedule, taken in zip((self.times, self.offsets), self._taken, strict=True):
            for position, key in taken:
                schedule.add(position, key)

    def _resume(self, of_events: bool, first: int) -> None:
        """The first batch after the take-over shows whether the newest batch in the state is complete or comes again."""
        after, _ = self._restored
        if of_events and first > after.clean_offset:
            self.watermark_ms = max(self.watermark_ms, after.watermark_ms)
        elif not of_events and first > after.recommendation_offset:
            self.source_offset = max(self.source_offset, after.source_offset)
