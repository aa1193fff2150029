"""What is bought together over the whole cluster, fed from ``items.together``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import isfinite
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray, RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import Reason, RecordError
from streams.ranking.embedding import Embedding
from streams.ranking.popularity_table import Rows
from streams.ranking.read_up_to import ReadUpTo

SHRINK = 10.0
"""Purchases added to each item's own in the cosine: a pair of two items that were hardly bought says little."""
_NEIGHBOURS = 64
"""Kept for an item."""
_CHANGED_SHARE = 0.2
"""The neighbours are computed again when so many of the lists have changed."""
_AT_ONCE = 300_000
"""Pairs up to which that is done on the spot (tenths of a second); more are done on a thread."""

Ints = npt.NDArray[np.int64]


class _List(NamedTuple):
    """One item's pairs in one partition."""

    others: Ints
    counts: npt.NDArray[np.float64]
    total: float
    as_of_ms: int
    source_offset: int


class Neighbours(NamedTuple):
    """Each item's neighbours, by the table's own numbers of items."""

    starts: Ints
    """[items + 1]: an item's neighbours are from ``starts[item]`` to ``starts[item + 1]``."""
    others: Ints
    strengths: FloatArray
    """count(a, b) / √((total(a) + shrink) · (total(b) + shrink)), with a before b and b before a added up."""


class Together(NamedTuple):
    """What speaks for items because of what they are bought with: one entry for a part of the history and an item."""

    rows: Ints
    """Of the item matrix."""
    values: FloatArray
    """What it adds to the row's score, but for the weight: the part's share of the history times the strength."""
    owners: Ints
    """Which of the embedding's items is the part."""


NOTHING = Together(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64))


class TogetherTable:
    """Adds up the partitions' pairs. Neighbours change only in ``refresh``, so all requests of a batch see the same."""

    def __init__(
        self, codec: RecordCodec | None, half_life_ms: float, *, at_once: int = _AT_ONCE, changed_share: float = _CHANGED_SHARE
    ) -> None:
        """``codec``: None where only ``put`` fills it. Neighbours are computed again when ``changed_share`` of the lists have changed; up
        to ``at_once`` pairs without a thread."""
        self.bad_records = 0
        """Records that could not be used."""
        self.read = ReadUpTo()
        self.neighbours_of: list[int] = []
        """Up to where the records had been read that the neighbours are made of, by partition."""
        self._changed_share = changed_share
        self._codec = codec
        self._half_life_ms = half_life_ms
        self._at_once = at_once
        self._numbers: dict[str, int] = {}
        self._lists: dict[tuple[int, int], _List] = {}
        self._changes = 0
        self._built = 0
        self._version = 0
        self._neighbours = _no_neighbours()
        self._building: Future[Neighbours] | None = None
        self._building_of: list[int] = []
        self._rows: WeakKeyDictionary[Rows, tuple[int, int, Ints]] = WeakKeyDictionary()
        self._numbers_of: WeakKeyDictionary[Rows, tuple[Ints, Ints]] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Lists of all partitions, one an item."""
        return len(self._lists)

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch of ``items.together``. The counts are absolute: reading a record again changes nothing, and an older one
        never replaces a newer one. Never raises for a record."""
        if self._codec is None:
            raise ValueError("a table without a codec reads no records")
        self.read.take(records)
        for record in records:
            if record.value is None:
                continue
            try:
                self._put(record.partition, self._codec.decode(record.value, record.headers))
            except RecordError:
                self.bad_records += 1

    def refresh(self) -> None:
        """Compute the neighbours anew where enough has changed; to be called before a batch."""
        if self._building is not None:
            if not self._building.done():
                return
            self._take(self._building.result(), self._building_of)
            self._building = None
        if not self._changes or self._changes < self._changed_share * self._built:
            return
        lists = dict(self._lists)
        self._changes, self._built = 0, len(lists)
        if sum(len(one.others) for one in lists.values()) <= self._at_once:
            self._take(_neighbours(lists, list(self._numbers), self._half_life_ms), self.read.following)
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="together")
        self._building_of = self.read.following
        self._building = pool.submit(_neighbours, lists, list(self._numbers), self._half_life_ms)
        pool.shutdown(wait=False)

    def strengths(self, item_id: str) -> dict[str, float]:
        """An item's neighbours by id, strongest first."""
        number = self._numbers.get(item_id)
        if number is None or number + 1 >= len(self._neighbours.starts):
            return {}
        own = slice(*self._neighbours.starts[number : number + 2].tolist())
        names = list(self._numbers)
        return {names[n]: s for n, s in zip(self._neighbours.others[own].tolist(), self._neighbours.strengths[own].tolist(), strict=True)}

    @property
    def neighbours(self) -> Neighbours:
        """All items' neighbours, by the table's numbers of items."""
        return self._neighbours

    def numbers_of(self, matrix: Rows) -> Ints:
        """int64 [rows]: the table's number of each of the matrix's rows, -1 for those that had none when the neighbours were made."""
        rows = self.rows_of(matrix)
        known = self._numbers_of.get(matrix)
        if known is None or known[0] is not rows:
            known = self._numbers_of[matrix] = (rows, turned(rows, len(matrix.ids)))
        return known[1]

    def of(self, embedding: Embedding, matrix: Rows) -> Together:
        """What speaks for the matrix's items because of what was liked in a history; what was disliked says nothing here."""
        whole = float(np.abs(embedding.coefficients).sum())
        known = self._neighbours
        last = len(known.starts) - 1
        if not last or not whole or not len(embedding.items):
            return NOTHING
        shares = embedding.coefficients[: len(embedding.items)] / np.float32(whole)
        numbers = np.fromiter((self._numbers.get(item, last) for item in embedding.items), np.int64, len(embedding.items))
        owners = np.flatnonzero((numbers < last) & (shares > 0))
        starts = known.starts[numbers[owners]]
        counts = known.starts[numbers[owners] + 1] - starts
        ends = np.cumsum(counts)
        if not len(ends) or not ends[-1]:
            return NOTHING
        places = np.repeat(starts - ends + counts, counts) + np.arange(ends[-1])
        owner = np.repeat(owners, counts)
        rows = self.rows_of(matrix)[known.others[places]]
        values = shares[owner] * known.strengths[places]
        inside = rows >= 0
        return Together(rows[inside], values[inside], owner[inside]) if not inside.all() else Together(rows, values, owner)

    def rows_of(self, matrix: Rows) -> Ints:
        """int64 [the table's items]: the matrix's row of each of the table's items, -1 for those that it does not have."""
        known = self._rows.get(matrix)
        if known is not None and known[:2] == (self._version, matrix.layout):
            return known[2]
        rows = np.fromiter((matrix.rows.get(item, -1) for item in self._numbers), np.int64, len(self._numbers))
        self._rows[matrix] = (self._version, matrix.layout, rows)
        return rows

    def _put(self, partition: int, value: Mapping[str, object]) -> None:
        others, counts, total = value["others"], value["counts"], value["total"]
        if not isinstance(others, list) or not isinstance(counts, list) or len(others) != len(counts) or not isinstance(total, float):
            raise RecordError(Reason.UNDECODABLE, "pairs need one count each")
        if not all(isfinite(count) and count >= 0 for count in (*counts, total)):
            raise RecordError(Reason.UNDECODABLE, "counts of pairs must be finite and not negative")
        self.put(
            partition,
            str(value["item_id"]),
            total,
            dict(zip(others, counts, strict=True)),
            as_of_ms=int(str(value["as_of"])),
            source_offset=int(str(value["source_offset"])),
        )

    def put(self, partition: int, item_id: str, total: float, counts: Mapping[str, float], *, as_of_ms: int, source_offset: int) -> None:
        """One item's pairs in one partition, in place of older ones."""
        key = (partition, self._number(item_id))
        known = self._lists.get(key)
        if known is not None and known.source_offset >= source_offset:
            return
        others = np.fromiter((self._number(other) for other in counts), np.int64, len(counts))
        self._lists[key] = _List(others, np.fromiter(counts.values(), np.float64, len(counts)), total, as_of_ms, source_offset)
        self._changes += 1

    def _number(self, item_id: str) -> int:
        return self._numbers.setdefault(item_id, len(self._numbers))

    def _take(self, neighbours: Neighbours, of: list[int]) -> None:
        self._neighbours, self.neighbours_of = neighbours, of
        self._version += 1


def total_at(parts: Sequence[Together], users: Ints, rows: Ints, weight: float) -> FloatArray:
    """float32 [pairs]: what all parts of a user's history add to each of the user's rows. Pairs are ordered by user; ``parts`` has one
    element a user."""
    found = np.zeros(len(users), np.float32)
    if not any(len(part.rows) for part in parts):
        return found
    cuts = np.searchsorted(users, np.arange(len(parts) + 1))
    for user, part in enumerate(parts):
        own = slice(int(cuts[user]), int(cuts[user + 1]))
        if len(part.rows) and own.stop > own.start:
            found[own] = dense(part, weight, int(max(part.rows.max(), rows[own].max())) + 1)[rows[own]]
    return found


def dense(part: Together, weight: float, count: int) -> FloatArray:
    """float32 [count rows]: what all parts of a history add to each row. Added up in double precision, in the order of the history."""
    return np.bincount(part.rows, part.values * np.float32(weight), minlength=count).astype(np.float32)


def turned(rows: Ints, count: int) -> Ints:
    """int64 [count]: the place of each row in ``rows``, -1 where it has none."""
    found = np.full(count, -1, np.int64)
    known = np.flatnonzero(rows >= 0)
    found[rows[known]] = known
    return found


def _no_neighbours() -> Neighbours:
    return Neighbours(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def _neighbours(lists: Mapping[tuple[int, int], _List], names: Sequence[str], half_life_ms: float) -> Neighbours:
    """The strongest neighbours of every item, strongest first; equal ones by id: numbers depend on the order of reading."""
    if not lists:
        return _no_neighbours()
    items = len(names)
    by_name = np.argsort(np.argsort(names))
    # In order: the sums must not depend on the order in which records were read.
    ordered = sorted(lists.items())
    newest_ms = max(one.as_of_ms for _, one in ordered)
    factors = [2.0 ** ((one.as_of_ms - newest_ms) / half_life_ms) for _, one in ordered]
    own = np.array([number for (_, number), _ in ordered], np.int64)
    totals = np.bincount(own, [one.total * f for (_, one), f in zip(ordered, factors, strict=True)], minlength=items)
    later = np.repeat(own, [len(one.others) for _, one in ordered])
    earlier = np.concatenate([one.others for _, one in ordered])
    counts = np.concatenate([one.counts * f for (_, one), f in zip(ordered, factors, strict=True)])
    keys = np.concatenate([later * items + earlier, earlier * items + later])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    if not len(firsts):
        return Neighbours(np.zeros(items + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    sums = np.add.reduceat(np.concatenate([counts, counts])[order], firsts)
    left, right = np.divmod(keys[firsts], items)
    strengths = sums / np.sqrt((totals[left] + SHRINK) * (totals[right] + SHRINK))
    best = np.lexsort((by_name[right], -strengths, left))
    left, right, strengths = left[best], right[best], strengths[best]
    begins = np.searchsorted(left, np.arange(items + 1))
    kept = np.arange(len(left)) - begins[left] < _NEIGHBOURS
    starts = np.concatenate([[0], np.cumsum(np.bincount(left[kept], minlength=items))])
    return Neighbours(starts.astype(np.int64), right[kept], strengths[kept].astype(np.float32))
