"""Metrics of rankings, per case and in total. Definitions: docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.ranked import Ranked

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HEAD_SHARE = 0.8
"""The head: the most popular items that together make this share of all interactions. The rest is the long tail."""


class PerCase(NamedTuple):
    """float64 [cases] each, from 0 to 1."""

    hit: Floats
    """HR@K: 1 where at least one target is among the K."""
    ndcg: Floats
    """NDCG@K, binary relevance; the ideal has min(K, number of targets) hits at the top (Järvelin and Kekäläinen 2002)."""
    recall: Floats
    """Targets among the K, over all targets."""


class CalibrationBin(NamedTuple):
    """Recommended items with scores from ``low`` to ``high``."""

    low: float
    high: float
    items: int
    precision: float
    """Share of them that were targets."""


def hits(ranked: Ranked, cases: Sequence[Case], catalogue: EvaluationCatalogue) -> Bools:
    """bool [cases, K]: whether the recommended item is one of the case's targets."""
    rows = catalogue.rows
    wanted = np.zeros((len(cases), len(catalogue.ids) + 1), np.bool_)
    for place, case in enumerate(cases):
        wanted[place, [rows[item] for item in case.targets if item in rows]] = True
    # Row -1, no item, is the column after the last item: never wanted.
    found: Bools = np.take_along_axis(wanted, ranked.rows, axis=1)
    return found


def per_case(found: Bools, cases: Sequence[Case]) -> PerCase:
    """From ``hits``. Targets that the catalogue does not know count as missed."""
    count = found.shape[1]
    targets = np.array([len(case.targets) for case in cases], np.int64)
    gains = discounts(count)
    ideal = np.concatenate(([0.0], np.cumsum(gains)))[np.minimum(targets, count)]
    recall: Floats = found.mean(axis=1) * count / targets
    return PerCase(np.asarray(found.any(axis=1), np.float64), np.asarray((found @ gains) / ideal), recall)


def discounts(count: int) -> Floats:
    """1 / log2(place + 1) for places from 1."""
    gains: Floats = 1.0 / np.log2(np.arange(2, count + 2))
    return gains


def coverage(ranked: Ranked, open_rows: Bools) -> float:
    """Share of the recommendable items that are recommended to at least one shopper."""
    shown = np.unique(ranked.rows[ranked.rows >= 0])
    return len(shown) / max(1, int(open_rows.sum()))


def head(interactions: Floats, share: float = HEAD_SHARE) -> Bools:
    """bool [items]: the fewest items that together make at least ``share`` of all interactions, most popular first, equal ones by row.

    >>> head(np.array([1.0, 7.0, 1.0, 1.0])).tolist()
    [True, True, False, False]
    """
    order = np.argsort(-interactions, kind="stable")
    before = np.cumsum(interactions[order]) - interactions[order]
    found = np.zeros(len(interactions), np.bool_)
    found[order[before < share * interactions.sum() * (1 - 1e-12)]] = True
    return found


def long_tail_share(ranked: Ranked, interactions: Floats) -> float:
    """Share of all recommended places that items outside of the head get; 0 if nothing is recommended."""
    shown = ranked.rows[ranked.rows >= 0]
    return float(np.mean(~head(interactions)[shown])) if len(shown) else 0.0


def precision_above(ranked: Ranked, found: Bools, threshold: float) -> tuple[float, float]:
    """(precision, items a request) of what passes the threshold; precision is 0 if nothing does."""
    above = ranked.scores > threshold
    passed = int(above.sum())
    return (float(found[above].mean()) if passed else 0.0), passed / max(1, len(found))


def calibration(ranked: Ranked, found: Bools, bins: int = 10) -> list[CalibrationBin]:
    """The recommended items in ``bins`` parts of equal size by score, lowest first; fewer if there are fewer items."""
    shown = ranked.rows >= 0
    order = np.argsort(ranked.scores[shown], kind="stable")
    scores, good = ranked.scores[shown][order], found[shown][order]
    parts = [part for part in np.array_split(np.arange(len(scores)), bins) if len(part)]
    return [CalibrationBin(float(scores[p[0]]), float(scores[p[-1]]), len(p), float(good[p].mean())) for p in parts]
