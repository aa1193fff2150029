"""The tallies of all partitions, read from ``training.tallies``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import RecordError
from streams.serde.records import TrainingTally
from streams.stages.learning.tally import SCORE_BINS, position


class Tallies:
    """The latest tally of each partition."""

    def __init__(self, codec: RecordCodec) -> None:
        self.bad_records = 0
        """Records that could not be used."""
        self._codec = codec
        self._tallies: dict[int, TrainingTally] = {}

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch. Tallies are absolute: an older one, written late by a worker that has lost its partition, never replaces a
        newer one. Never raises for a record."""
        for record in records:
            if record.value is None:
                continue
            try:
                tally = cast(TrainingTally, self._codec.decode(record.value, record.headers))
            except RecordError:
                self.bad_records += 1
                continue
            if any(len(bucket["scores"]) != SCORE_BINS for bucket in tally["buckets"]):
                self.bad_records += 1
            elif position(tally) >= self.position(tally["partition"]):
                self._tallies[tally["partition"]] = tally

    def position(self, partition: int) -> int:
        """How far the partition's latest tally goes; -1 where there is none."""
        tally = self._tallies.get(partition)
        return -1 if tally is None else position(tally)

    @property
    def tallies(self) -> list[TrainingTally]:
        """By partition."""
        return [tally for _, tally in sorted(self._tallies.items())]
