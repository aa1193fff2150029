"""What an agent receives from the batch transport."""

from __future__ import annotations

from dataclasses import dataclass

from streams.engine.records import SourceRecord


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """Consecutive records of one partition, in offset order, never empty."""

    topic: str
    partition: int
    records: list[SourceRecord]
    generation: int
    """The consumer group's generation; a new one means that the partition may have been elsewhere in between."""
    begins: int
    """The offset that was to be fetched next; the first record's may be greater, where compaction has left a hole."""

    def __repr__(self) -> str:
        return f"<FetchedBatch {self.topic}/{self.partition} {self.records[0].offset}..{self.records[-1].offset}>"
