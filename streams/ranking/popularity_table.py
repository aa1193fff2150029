"""The popularity of every item over the whole cluster, read from ``items.popularity``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import Reason, RecordError
from streams.ranking.popularity import DecayedCount

Counts = npt.NDArray[np.float64]

_CELLS_PER_HALF_LIFE = 512
"""Counts are evaluated at the start of a cell of time: at most 0.14 % too high, and one evaluation serves many events."""
_REFERENCE_HALF_LIVES = 200
"""How far the reference time may lag behind before it is moved; 2^200 is far within a double's range."""


class Rows(Protocol):
    """The part of the item matrix that maps rows to items."""

    @property
    def layout(self) -> int: ...
    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def ids(self) -> Sequence[str]: ...


@dataclass(slots=True)
class _Aligned:
    """The counts at the reference time by a matrix's rows, as these were at its layout."""

    layout: int = -1
    counts: Counts = field(default_factory=lambda: np.zeros(0))
    changed: set[str] = field(default_factory=set)
    """Items to be counted again."""


class PopularityTable:
    """Sums the partitions' decayed counts.

    All counts are kept as if they had been taken at one reference time, c · 2^((as of - reference) / half-life); so a new
    record costs one entry, and decaying the whole catalogue to any time is one factor.
    """

    def __init__(self, codec: RecordCodec, half_life_ms: float) -> None:
        self.bad_records = 0
        """Records that could not be used."""
        self._codec = codec
        self._half_life_ms = half_life_ms
        self._parts: dict[str, dict[int, DecayedCount]] = {}
        self._reference_ms: int | None = None
        self._newest_ms = 0
        # One per serving matrix. With a canary, every batch uses two.
        self._aligned: WeakKeyDictionary[Rows, _Aligned] = WeakKeyDictionary()

    def latest(self, partition: int, item_id: str) -> DecayedCount | None:
        """The last value that the partition published for the item."""
        parts = self._parts.get(item_id)
        return None if parts is None else parts.get(partition)

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch of ``items.popularity``. The counts are absolute: reading a record again changes nothing, and an older
        one never replaces a newer one. Never raises for a record."""
        for record in records:
            if record.value is None:
                continue
            try:
                value = self._codec.decode(record.value, record.headers)
                self._put(record.partition, value["item_id"], DecayedCount(value["count"], value["as_of"], value["source_offset"]))
            except RecordError:
                self.bad_records += 1

    def cell(self, time_ms: int) -> float:
        """The time, milliseconds, at which counts are evaluated for an event at ``time_ms``. It is never before the newest count,
        because counts can't be reduced to a time before their events.
        """
        size = self._half_life_ms / _CELLS_PER_HALF_LIFE
        return max(time_ms, self._newest_ms) // size * size

    def counts(self, rows: Rows, cell_ms: float) -> Counts:
        """float64 [rows]: the decayed counts at that time, by row; 0 for items without events and rows without item."""
        counts = self._align(rows)
        if self._reference_ms is None:
            return counts
        factor: float = 2.0 ** ((self._reference_ms - cell_ms) / self._half_life_ms)
        return counts * factor

    def _put(self, partition: int, item_id: str, count: DecayedCount) -> None:
        if not (isfinite(count.value) and count.value >= 0):
            raise RecordError(Reason.UNDECODABLE, "a popularity count must be finite and not negative")
        parts = self._parts.setdefault(item_id, {})
        known = parts.get(partition)
        if known is not None and known.source_offset > count.source_offset:
            return
        parts[partition] = count
        for aligned in self._aligned.values():
            aligned.changed.add(item_id)
        self._newest_ms = max(self._newest_ms, count.as_of_ms)
        reference = self._reference_ms
        if reference is None or count.as_of_ms - reference > _REFERENCE_HALF_LIVES * self._half_life_ms:
            self._reference_ms = count.as_of_ms
            self._aligned.clear()

    def _align(self, rows: Rows) -> Counts:
        aligned = self._aligned.get(rows)
        if aligned is None:
            aligned = self._aligned[rows] = _Aligned()
        if aligned.layout != rows.layout:
            aligned.counts = np.fromiter((self._total(item_id) for item_id in rows.ids), np.float64, len(rows.ids))
            aligned.layout = rows.layout
        else:
            for item_id in aligned.changed:
                row = rows.rows.get(item_id)
                if row is not None:
                    aligned.counts[row] = self._total(item_id)
        aligned.changed.clear()
        return aligned.counts

    def _total(self, item_id: str) -> float:
        parts = self._parts.get(item_id)
        if parts is None or self._reference_ms is None:
            return 0.0
        reference, half_life = self._reference_ms, self._half_life_ms
        # In order of the partitions: the sum must not depend on the order in which records were read.
        return float(sum(c.value * 2.0 ** ((c.as_of_ms - reference) / half_life) for _, c in sorted(parts.items())))
