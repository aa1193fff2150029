"""Fits an additive ranker to lists: one smooth curve a feature, and for some features a curve that depends on another one.

The probability that a list's candidate is the one that is taken is the softmax of the scores (conditional logit: McFadden, "Conditional
logit analysis of qualitative choice behavior", 1974). Curves are tables over the levels whose neighbouring entries are drawn together
(Eilers, Marx, "Flexible smoothing with B-splines and penalties", 1996). The loss is convex: there is one best model, it does not depend on
chance, and L-BFGS finds it (Liu, Nocedal, "On the limited memory BFGS method for large scale optimization", 1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.crosses import BINS, Crosses
from streams.ranking.learned.features import FEATURES, LEVELS, PLACE, Levels

Floats = npt.NDArray[np.float64]

CROSSED = (("related", "history"), ("popularity_15", "history"), ("pairs_history", "history"))
"""Features whose curve depends on another feature: what a short history says weighs otherwise than what a long one says."""


@dataclass(frozen=True)
class AdditiveRule:
    """How an additive ranker is fitted; the values were chosen on the validation cuts of docs/decisions/0013."""

    crossed: Sequence[tuple[str, str]] = CROSSED
    smooth: Sequence[float] = (1000.0, 300.0, 100.0)
    """What may be taken times the squared difference of neighbouring entries of a curve, and of a table of two features in both
    directions; in units of one list's loss. Which is best depends on how many lists there are and how much they
    repeat each other: it is chosen at the last moment."""
    ridge: float = 0.01
    """Times each squared entry: what no list tells anything about stays 0."""
    steps: int = 300
    """Most steps of L-BFGS."""


class Additive(NamedTuple):
    """What was fitted; nothing is centred yet."""

    tables: Floats
    """[features, levels]."""
    crosses: Crosses


def fit_additive(levels: Levels, gains: Floats, sizes: npt.NDArray[np.int64], rule: AdditiveRule, smooth: float) -> Additive:
    """``levels`` [pairs, features] of lists of ``sizes`` [lists], one after another; ``gains`` [pairs] of what was taken, 0 for the rest,
    something above 0 in each list. A list counts once, however much of it was taken."""
    from scipy.optimize import minimize

    from encoders.kernels import listwise

    features = np.array([[PLACE[name] for name in pair] for pair in rule.crossed], np.uint8).reshape(-1, 2)
    bins = np.array([[_bins(levels[:, place]) for place in pair] for pair in features], np.uint8).reshape(-1, 2, LEVELS)
    crosses = Crosses(features, bins, np.zeros((len(features), BINS * BINS), np.float32))
    own = np.ascontiguousarray(np.column_stack((levels, crosses.cells(levels))))
    begins = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    taken = gains / np.repeat(np.add.reduceat(gains, begins[:-1]), sizes)
    count = len(FEATURES)

    def loss(values: Floats) -> tuple[float, Floats]:
        tables = values.reshape(-1, LEVELS)
        gradient = 2 * rule.ridge * tables
        total = float(listwise.loss_and_gradient(tables, own, taken, begins, gradient)) + rule.ridge * float((tables**2).sum())
        total += _smooth(tables[:count], gradient[:count], smooth, 1)
        grids, slopes = (part[count:].reshape(-1, BINS, BINS) for part in (tables, gradient))
        total += _smooth(grids, slopes, smooth, 1) + _smooth(grids, slopes, smooth, 2)
        return total, gradient.ravel()

    start = np.zeros((count + len(features)) * LEVELS)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": rule.steps, "maxcor": 20})
    tables = found.x.reshape(-1, LEVELS)
    return Additive(tables[:count], crosses._replace(tables=tables[count:].astype(np.float32)))


def _bins(column: Levels) -> Levels:
    """uint8 [levels]: the bin of each level; about as many pairs in each, as far as levels can be told apart."""
    cuts = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    return np.searchsorted(cuts, np.arange(LEVELS), side="left").astype(np.uint8)


def _smooth(tables: Floats, gradient: Floats, strength: float, axis: int) -> float:
    """The penalty of neighbours that differ along the axis; its gradient is added."""
    steps = np.diff(tables, axis=axis)
    before, after = (tuple(part if n == axis else slice(None) for n in range(tables.ndim)) for part in (np.s_[:-1], np.s_[1:]))
    gradient[after] += 2 * strength * steps
    gradient[before] -= 2 * strength * steps
    return strength * float((steps**2).sum())
