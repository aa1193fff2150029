"""The queue of a partition, and the size of its next batch.

A batch is made when the partition's turn comes, not when records are fetched. It takes everything that waits, up to a limit. So a busy
stage works in large batches, and an idle one handles each record at once.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from streams.engine.records import FetchedRun, SourceRecord, UnreadableRecord


class Batch(NamedTuple):
    """Records of one source partition, in offset order and without a gap."""

    topic: str
    begins: int
    ends: int
    """The source offset that is applied when the whole batch is done. It is past the last record if a transaction's end marker, or a
    gap left by compaction, follows it.
    """
    records: list[SourceRecord | UnreadableRecord]
    came_s: float = 0.0
    """When the first of them came."""


class PartitionQueue:
    """Runs of one source partition, in order.

    >>> queue = PartitionQueue(max_records=3, max_bytes=100)
    >>> cursor = queue.open(10)
    >>> queue.add(FetchedRun("t", 0, cursor, 10, 14, ["a", "b"], 20))
    True
    >>> queue.add(FetchedRun("t", 0, cursor - 1, 14, 15, ["c"], 9))
    False
    >>> queue.take()
    Batch(topic='t', begins=10, ends=14, records=['a', 'b'], came_s=0.0)
    """

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._runs: deque[FetchedRun] = deque()
        self._came: deque[float] = deque()
        """When each of them came."""
        self._cursor = 0
        self._ends = 0
        self._records = 0
        self._bytes = 0

    def open(self, offset: int) -> int:
        """Drop everything; what comes next begins at ``offset``, and is asked for by the cursor that is returned."""
        self._runs.clear()
        self._came.clear()
        self._records = self._bytes = 0
        self._ends = offset
        self._cursor += 1
        return self._cursor

    def close(self) -> None:
        """Drop everything, and what is still under way."""
        self.open(self._ends)

    def add(self, run: FetchedRun, now_s: float = 0.0) -> bool:
        """Add a run, which comes now. False if it does not continue the queue; then nothing of it is taken."""
        if run.cursor != self._cursor or run.begins != self._ends:
            return False
        self._runs.append(run)
        self._came.append(now_s)
        self._ends = run.ends
        self._records += len(run.records)
        self._bytes += run.size
        return True

    @property
    def is_empty(self) -> bool:
        return not self._runs

    @property
    def oldest_ms(self) -> int | None:
        """Timestamp of the first record that waits."""
        return next((run.records[0].timestamp for run in self._runs if run.records), None)

    @property
    def ends(self) -> int:
        """The offset to fetch next."""
        return self._ends

    @property
    def has_room(self) -> bool:
        """Two batches may wait: one that is taken next, and one that is fetched meanwhile."""
        return self._records < 2 * self._max_records and self._bytes < 2 * self._max_bytes

    def take(self, most: int | None = None) -> Batch | None:
        """The next batch, of at most ``most`` records. None if nothing waits. One run is always taken, whatever its size, because it
        is in memory already.
        """
        most = self._max_records if most is None else min(most, self._max_records)
        if not self._runs:
            return None
        topic, begins = self._runs[0].topic, self._runs[0].begins
        records: list[SourceRecord | UnreadableRecord] = []
        came_s = self._came[0]
        size, ends = 0, begins
        while self._runs:
            run = self._runs[0]
            room = most - len(records)
            if records and (size + run.size > self._max_bytes or room <= 0):
                break
            self._runs.popleft()
            since_s = self._came.popleft()
            if len(run.records) > room:
                run, rest = _split(run, room)
                self._runs.appendleft(rest)
                self._came.appendleft(since_s)
            records += run.records
            size += run.size
            ends = run.ends
            self._records -= len(run.records)
            self._bytes -= run.size
        return Batch(topic, begins, ends, records, came_s)


def _split(run: FetchedRun, count: int) -> tuple[FetchedRun, FetchedRun]:
    last = run.records[count - 1]
    middle = (last.last_offset if isinstance(last, UnreadableRecord) else last.offset) + 1
    size = run.size * count // len(run.records)
    return (
        run._replace(ends=middle, records=run.records[:count], size=size),
        run._replace(begins=middle, records=run.records[count:], size=run.size - size),
    )
