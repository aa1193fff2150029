"""EASE for large catalogues: each item's column of the weights is solved for by itself, among the items that go with it most.

EASE's weights of one item are a ridge regression of its column on all others (Steck, "Embarrassingly shallow autoencoders for sparse
data", WWW 2019). Here the others are its nearest, so items cost a small system each, not their number cubed, and two items that no one
buys together cost nothing. Ning and Karypis, "SLIM: sparse linear methods for top-n recommender systems" (ICDM 2011, section IV-B),
choose the columns of a regression by nearness in the same way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.together_table import Neighbours
from streams.training.learned.past import Interactions

_AT_ONCE = 4096
"""Items that are solved for before their weights are sorted in."""
_LEAST = 16
"""Neighbours that each item may have in any case."""


class LocalRule(NamedTuple):
    """How large the systems are, and what comes out. Chosen by measurement: docs/decisions/0015-large-catalogues.md."""

    ridge: float = 100.0
    companions: int = 256
    """Kept for an item, to look up what its neighbours have with each other."""
    solved: int = 128
    """Most of them in an item's own system."""
    history: int = 500
    """Most items of a shopper that count, the heaviest: one who buys everything would make pairs of everything."""
    neighbours: int = 128
    """Most kept for an item."""
    pairs: int = 1 << 25
    """Most kept in all, which is a file of 256 MiB: of a very large catalogue each item keeps fewer."""

    def kept(self, items: int) -> int:
        """Most neighbours of one of so many items."""
        return max(_LEAST, min(self.neighbours, self.pairs // max(1, items)))


def fit_local(known: Interactions, rule: LocalRule, *, shoppers: int) -> RelatedItems:
    """Weights between all items that at least ``shoppers`` shoppers share with another. Items without any are left out."""
    from encoders.kernels import local_ridge

    counts = np.bincount(known.items, minlength=len(known.names))
    chosen = np.argsort(-counts, kind="stable")[: int((counts >= shoppers).sum())]
    place = np.full(len(known.names), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    by_shopper, by_item = _both_ways(known, place, rule.history)
    items = len(chosen)
    squares = np.bincount(by_shopper.others, by_shopper.weights.astype(np.float64) ** 2, minlength=items).astype(np.float64)
    graph = _companions(by_item, by_shopper, squares, rule, shoppers)
    kept = np.zeros(items, np.int32)
    others, weights = np.empty((items, rule.kept(items)), np.int32), np.empty((items, rule.kept(items)), np.float32)
    for first in range(0, items, _AT_ONCE):
        some = min(_AT_ONCE, items - first)
        sizes = np.zeros(some, np.int32)
        near, solved = np.empty((some, rule.solved), np.int32), np.empty((some, rule.solved))
        local_ridge.solve(*graph, squares, rule.ridge, rule.solved, first, sizes, near, solved)
        local_ridge.keep(sizes, near, solved, first, kept, others, weights)
    return _related(known, chosen, kept, others, weights)


class _Rows(NamedTuple):
    starts: npt.NDArray[np.int64]
    others: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


def _rows(rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], count: int) -> _Rows:
    order = np.lexsort((others, rows))
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=count)))).astype(np.int64)
    return _Rows(starts, others[order].astype(np.int32), weights[order].astype(np.float32))


def _both_ways(known: Interactions, place: npt.NDArray[np.int64], history: int) -> tuple[_Rows, _Rows]:
    """Shoppers' items and items' shoppers, without items that have no place, at most ``history`` a shopper."""
    inside = np.flatnonzero(place[known.items] >= 0)
    people, items, weights = known.shoppers[inside], place[known.items[inside]], known.weights[inside]
    if len(people) and np.bincount(people).max() > history:
        order = np.lexsort((items, -weights, people))
        firsts = np.concatenate(([0], np.cumsum(np.bincount(people))))
        order = order[np.arange(len(order)) - firsts[people[order]] < history]
        people, items, weights = people[order], items[order], weights[order]
    return _rows(people, items, weights, known.people), _rows(items, people, weights, int(place.max(initial=-1)) + 1)


def _companions(
    by_item: _Rows, by_shopper: _Rows, squares: npt.NDArray[np.float64], rule: LocalRule, shoppers: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    from encoders.kernels import local_ridge

    counts, others, sums = [], [], []
    items = len(squares)
    for first in range(0, items, _AT_ONCE):
        some = min(_AT_ONCE, items - first)
        sizes = np.zeros(some, np.int32)
        near, values = np.empty((some, rule.companions), np.int32), np.empty((some, rule.companions), np.float32)
        local_ridge.companions(*by_item, *by_shopper, squares, rule.ridge, shoppers, first, sizes, near, values)
        own = np.arange(rule.companions) < sizes[:, None]
        counts.append(sizes)
        others.append(near[own])
        sums.append(values[own])
    starts = np.concatenate(([0], np.cumsum(np.concatenate(counts, dtype=np.int64)))) if counts else np.zeros(1, np.int64)
    return starts, np.concatenate([np.zeros(0, np.int32), *others]), np.concatenate([np.zeros(0, np.float32), *sums])


def _related(
    known: Interactions,
    chosen: npt.NDArray[np.int64],
    kept: npt.NDArray[np.int32],
    others: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
) -> RelatedItems:
    """By place, without items that have no weight with any."""
    own = np.arange(others.shape[1]) < kept[:, None]
    if not own.any():
        return nothing_related()
    targets, strengths = others[own], weights[own]
    rows = np.repeat(np.arange(len(kept)), kept)
    used = kept > 0
    used[targets] = True
    number = np.cumsum(used) - 1
    order = np.lexsort((targets, rows))
    starts = np.concatenate(([0], np.cumsum(kept[used]))).astype(np.int64)
    names = [known.names[n] for n in chosen[used].tolist()]
    return RelatedItems(names, Neighbours(starts, number[targets[order]].astype(np.int64), strengths[order]))
