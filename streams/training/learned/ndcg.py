"""How well scores rank lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.training.evaluation.metrics import discounts
from streams.training.learned.lists import Lists

Floats = npt.NDArray[np.float64]


def taken(lists: Lists) -> npt.NDArray[np.int64]:
    """int64 [lists]: candidates of each that were taken."""
    found: npt.NDArray[np.int64] = np.bincount(lists.owners, lists.labels > 0, minlength=len(lists.sizes)).astype(np.int64)
    return found


def ndcg(lists: Lists, scores: Floats, count: int) -> Floats:
    """float64 [lists]: NDCG@count, binary; what no source found counts as missed."""
    gains = discounts(count)
    rows, hits = best(lists, scores, count)
    found = np.bincount(lists.owners[rows], hits * gains[_places(lists, rows)], minlength=len(lists.sizes))
    ideal = np.concatenate(([0.0], np.cumsum(gains)))[np.minimum(lists.wanted, count)]
    return np.asarray(found / np.maximum(ideal, 1e-12))


def best(lists: Lists, scores: Floats, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Pairs that are among their list's best, list by list, best first; and whether they were taken."""
    order = np.lexsort((-scores, lists.owners))
    rows = order[_rank(lists) < count]
    return rows, lists.labels[rows] > 0


def _rank(lists: Lists) -> npt.NDArray[np.int64]:
    begins = np.concatenate(([0], np.cumsum(lists.sizes)[:-1]))
    found: npt.NDArray[np.int64] = np.arange(len(lists.labels)) - np.repeat(begins, lists.sizes)
    return found


def _places(lists: Lists, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    owners = lists.owners[rows]
    firsts = np.searchsorted(owners, np.arange(len(lists.sizes)))
    found: npt.NDArray[np.int64] = np.arange(len(rows)) - firsts[owners]
    return found
