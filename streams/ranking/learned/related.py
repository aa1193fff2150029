"""What is related to what: the weights of a model of whole histories, which the trainer fits and a model's version carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from streams.ranking.popularity_table import Rows
from streams.ranking.together_table import Ints, Neighbours, turned


class _Places(NamedTuple):
    layout: int
    rows: Ints
    numbers: Ints


class RelatedItems:
    """Each item's neighbours with weights that may be negative. It never changes."""

    def __init__(self, items: Sequence[str], neighbours: Neighbours) -> None:
        """``neighbours`` go by place in ``items``. Raises ValueError if they do not belong to as many items."""
        if len(neighbours.starts) != len(items) + 1 or len(neighbours.others) != len(neighbours.strengths):
            raise ValueError(f"neighbours of {len(neighbours.starts) - 1} items for {len(items)} items")
        if len(neighbours.others) and not 0 <= neighbours.others.min() <= neighbours.others.max() < len(items):
            raise ValueError("a neighbour is none of the items")
        ends = neighbours.starts[0], neighbours.starts[-1]
        if (np.diff(neighbours.starts) < 0).any() or ends != (0, len(neighbours.others)):
            raise ValueError("the neighbours' places are not in order")
        if not np.isfinite(neighbours.strengths).all():
            raise ValueError("a neighbour's weight is not a number")
        self.items = items
        self.neighbours = neighbours
        self._rows: WeakKeyDictionary[Rows, _Places] = WeakKeyDictionary()

    def numbers_of(self, matrix: Rows) -> Ints:
        """int64 [rows]: the place of each of the matrix's rows, -1 for those that are not known."""
        return self._places(matrix).numbers

    def rows_of(self, matrix: Rows) -> Ints:
        """int64 [known items]: the matrix's row of each, -1 for those that it does not have."""
        return self._places(matrix).rows

    def _places(self, matrix: Rows) -> _Places:
        found = self._rows.get(matrix)
        if found is None or found.layout != matrix.layout:
            rows = np.fromiter((matrix.rows.get(item, -1) for item in self.items), np.int64, len(self.items))
            found = self._rows[matrix] = _Places(matrix.layout, rows, turned(rows, len(matrix.ids)))
        return found


def nothing_related() -> RelatedItems:
    """Of a ranker that was fitted without a shop's own history."""
    return RelatedItems([], Neighbours(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)))


def bounded(weights: npt.NDArray[np.float32], most: int) -> Neighbours:
    """The ``most`` largest by magnitude of each row of float32 [items, items]; what is 0 is left out."""
    count = len(weights)
    if most < count:
        least = np.partition(np.abs(weights), count - most, axis=1)[:, count - most]
        weights = np.where(np.abs(weights) >= np.maximum(least, np.float32(1e-30))[:, None], weights, np.float32(0))
    rows, others = np.nonzero(weights)
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=count)))).astype(np.int64)
    return Neighbours(starts, others.astype(np.int64), weights[rows, others])
