"""The popularity of every item over the whole cluster, read from ``items.popularity``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import Reason, RecordError
from streams.ranking.popularity import OTHER_HALF_LIVES_MS, UNKNOWN, DecayedCount, held_back, usual_newcomers
from streams.ranking.read_up_to import ReadUpTo

Counts = npt.NDArray[np.float64]

_CELLS_PER_HALF_LIFE = 512
"""Counts are evaluated at the start of a cell of time: at most 0.14 % too high, and one evaluation serves many events."""
_REFERENCE_HALF_LIVES = 200
"""How far, in the shortest half-life, the reference time may lag behind before it is moved; 2^200 is far within a double's range."""
_COUNTS = 1 + len(OTHER_HALF_LIVES_MS)
_WIDTH = _COUNTS + 7
_FIRST, _BOUGHT, _BUYERS, _EXPOSURES, _DISMISSALS, _RETURNS, _NEWCOMERS = range(_COUNTS, _WIDTH)
_PART = [0, _NEWCOMERS]
"""The setting's count, and newcomers' part of it."""


class Rows(Protocol):
    """The part of the item matrix that maps rows to items."""

    @property
    def layout(self) -> int: ...
    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def ids(self) -> Sequence[str]: ...


class Activity(NamedTuple):
    """What is counted of items: one row for each."""

    counts: Counts
    """float64 [items, 4]: decayed to the moment, with half-lives of 2 days, the setting's, 15 and 60 days."""
    first_ms: Counts
    """float64 [items]: event time of the first event; not a number where there is none."""
    bought_ms: Counts
    """float64 [items]: event time of the last purchase; not a number where there is none."""
    buyers: Counts
    """float64 [items]."""


class Outcomes(NamedTuple):
    """What became of items that were shown or bought: float64 [rows] each."""

    first_ms: Counts
    """Event time of the first event; not a number where there is none."""
    exposures: Counts
    dismissals: Counts
    buyers: Counts
    returns: Counts


@dataclass(slots=True)
class _Aligned:
    """What is counted by a matrix's rows, as these were at its layout; counts at the reference time."""

    layout: int = -1
    counts: Counts = field(default_factory=lambda: np.zeros((0, _WIDTH)))
    """[rows, the setting's count, the others, first, bought, buyers, exposures, dismissals, returns, newcomers' part of the
    setting's count]."""
    sums: Counts = field(default_factory=lambda: np.zeros(2))
    """Of the setting's count, and of newcomers' part of it."""
    changed: set[str] = field(default_factory=set)
    """Items to be counted again."""


class PopularityTable:
    """Sums the partitions' decayed counts.

    All counts are kept as if they had been taken at one reference time, c · 2^((as of - reference) / half-life); so a new
    record costs one entry, and decaying the whole catalogue to any time is one factor.
    """

    def __init__(self, codec: RecordCodec | None, half_life_ms: float) -> None:
        """``codec``: None where only ``put`` fills it."""
        self.bad_records = 0
        """Records that could not be used."""
        self.read = ReadUpTo()
        self._codec = codec
        self._half_life_ms = half_life_ms
        self._parts: dict[int, dict[str, DecayedCount]] = {}
        """By partition, in rising order: the sum must not depend on the order in which records were read. Items in the order of their last
        records."""
        self._reference_ms: int | None = None
        self._newest_ms = 0
        # One per serving matrix. With a canary, every batch uses two.
        self._aligned: WeakKeyDictionary[Rows, _Aligned] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Items of all partitions that something was counted of."""
        return sum(map(len, self._parts.values()))

    def latest(self, partition: int, item_id: str) -> DecayedCount | None:
        """The last value that the partition published for the item."""
        return self._parts.get(partition, _NO_ITEMS).get(item_id)

    def of(self, partition: int) -> Mapping[str, DecayedCount]:
        """The last values that a partition published; what was published longest ago comes first."""
        return self._parts.get(partition, _NO_ITEMS)

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch of ``items.popularity``. The counts are absolute: reading a record again changes nothing, and an older
        one never replaces a newer one. A record without a value removes its item. Never raises for a record."""
        if self._codec is None:
            raise ValueError("a table without a codec reads no records")
        self.read.take(records)
        for record in records:
            if record.value is None:
                self._remove(record.partition, (record.key or b"").decode(errors="replace"))
                continue
            try:
                value = self._codec.decode(record.value, record.headers)
                self.put(record.partition, value["item_id"], _count_of(value))
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
        aligned = self._align(rows)
        counts = aligned.counts[:, 0]
        if self._reference_ms is None:
            return counts
        factor: float = 2.0 ** ((self._reference_ms - cell_ms) / self._half_life_ms)
        return held_back(counts * factor, aligned.counts[:, _NEWCOMERS] * factor, usual_newcomers(*aligned.sums.tolist()))

    def activity(self, rows: Rows, cells_ms: npt.NDArray[np.float64], which: npt.NDArray[np.int64]) -> Activity:
        """Of the rows ``which`` [items], each at its own moment ``cells_ms`` [items]. Nothing of newcomers is held back: a ranker learns
        from all that was counted."""
        found = self._align(rows).counts[which]
        if len(cells_ms) and (cells_ms == cells_ms[0]).all():
            cells_ms = cells_ms[:1]  # the usual case: one moment, and one power of two for all
        origin_ms = self._reference_ms or 0
        others = [found[:, 1 + n] * 2.0 ** ((origin_ms - cells_ms) / other) for n, other in enumerate(OTHER_HALF_LIVES_MS)]
        own = found[:, 0] * 2.0 ** ((origin_ms - cells_ms) / self._half_life_ms)
        counts = np.stack((others[0], own, *others[1:]), axis=1)
        return Activity(counts, found[:, _FIRST], found[:, _BOUGHT], found[:, _BUYERS])

    def outcomes(self, rows: Rows) -> Outcomes:
        """Of all rows."""
        return Outcomes(*self._align(rows).counts[:, [_FIRST, _EXPOSURES, _DISMISSALS, _BUYERS, _RETURNS]].T)

    def put(self, partition: int, item_id: str, count: DecayedCount) -> None:
        """One item's count in one partition, in place of an older one. Raises RecordError for one that can't be."""
        if not all(isfinite(value) and value >= 0 for value in (count.value, *count.others, *_amounts(count), count.newcomers)):
            raise RecordError(Reason.UNDECODABLE, "a popularity count must be finite and not negative")
        items = self._parts.get(partition)
        if items is None:
            items = {}
            self._parts = dict(sorted([*self._parts.items(), (partition, items)]))
        known = items.get(item_id)
        if known is not None:
            if known.source_offset > count.source_offset:
                return
            del items[item_id]
        items[item_id] = count
        for aligned in self._aligned.values():
            aligned.changed.add(item_id)
        self._newest_ms = max(self._newest_ms, count.as_of_ms)
        reference = self._reference_ms
        if reference is None or count.as_of_ms - reference > _REFERENCE_HALF_LIVES * min(self._half_life_ms, *OTHER_HALF_LIVES_MS):
            self._reference_ms = count.as_of_ms
            self._aligned.clear()

    def _remove(self, partition: int, item_id: str) -> None:
        items = self._parts.get(partition)
        if items is not None and items.pop(item_id, None) is not None:
            for aligned in self._aligned.values():
                aligned.changed.add(item_id)

    def _align(self, rows: Rows) -> _Aligned:
        aligned = self._aligned.get(rows)
        if aligned is None:
            aligned = self._aligned[rows] = _Aligned()
        if aligned.layout != rows.layout:
            aligned.counts = np.empty((len(rows.ids), _WIDTH))
            for place, item_id in enumerate(rows.ids):
                aligned.counts[place] = self._total(item_id)
            aligned.layout = rows.layout
            aligned.sums = aligned.counts[:, _PART].sum(axis=0)
        else:
            for item_id in aligned.changed:
                row = rows.rows.get(item_id)
                if row is not None:
                    aligned.sums -= aligned.counts[row, _PART]
                    aligned.counts[row] = self._total(item_id)
                    aligned.sums += aligned.counts[row, _PART]
        aligned.changed.clear()
        return aligned

    def _total(self, item_id: str) -> tuple[float, ...]:
        known = [items[item_id] for items in self._parts.values() if item_id in items]
        if not known or self._reference_ms is None:
            return _NOTHING
        origin_ms, half_lives = self._reference_ms, (self._half_life_ms, *OTHER_HALF_LIVES_MS)
        totals = [
            float(sum((c.value, *c.others)[n] * 2.0 ** ((c.as_of_ms - origin_ms) / half_life) for c in known))
            for n, half_life in enumerate(half_lives)
        ]
        first = min((c.first_ms for c in known if c.first_ms != UNKNOWN), default=nan)
        bought = max((c.bought_ms for c in known if c.bought_ms != UNKNOWN), default=nan)
        counted = (sum(amounts) for amounts in zip(*map(_amounts, known), strict=True))
        newcomers = float(sum(c.newcomers * 2.0 ** ((c.as_of_ms - origin_ms) / self._half_life_ms) for c in known))
        return (*totals, first, bought, *counted, newcomers)


_NO_ITEMS: Mapping[str, DecayedCount] = {}
_NOTHING = (*(0.0,) * _COUNTS, nan, nan, *(0.0,) * 5)


def _amounts(count: DecayedCount) -> tuple[int, int, int, int]:
    return count.buyers, count.exposures, count.dismissals, count.returns


def _count_of(value: Mapping[str, Any]) -> DecayedCount:
    first, bought = value["first_at"], value["bought_at"]
    return DecayedCount(
        value["count"],
        value["as_of"],
        value["source_offset"],
        (value["recent"], value["fortnight"], value["season"]),
        UNKNOWN if first is None else first,
        UNKNOWN if bought is None else bought,
        value["buyers"],
        value["exposures"],
        value["dismissals"],
        value["returns"],
        value["newcomers"],
    )
