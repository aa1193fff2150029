"""Fits half-life, popularity weight and threshold to a model, on a slice that the model was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import log2, sqrt
from typing import NamedTuple

import numpy as np

from streams.ranking.serving_params import ServingParams
from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.metrics import Bools, Floats, head, hits, per_case
from streams.training.evaluation.ranked import Ranked
from streams.training.evaluation.score import chunks, rank_by, top

LEAST_ITEMS = 50
"""A precision over fewer items is too uncertain."""


@dataclass(frozen=True)
class FitRule:
    """Which points are tried, and when the parameters change. The current values are always tried too."""

    half_lives_days: Sequence[float] = (7.5, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0)
    weights: Sequence[float] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6)
    together_weights: Sequence[float] = (0.0, 0.5, 1.0, 2.0)
    count: int = 10
    evidence: float = 2.5
    """The best point must beat the current one by this many standard errors of their difference, case by case. Otherwise nothing
    changes. Reason: the best of many points is also the luckiest.
    """
    target_precision: float | None = None
    target_volume: float | None = None
    """Items per request. With neither target the threshold stays. Both targets at once are refused."""
    min_cases: int = 100
    spread_tolerance: float | None = 0.1
    """Points are left out if their coverage or long tail's share is lower than the current point's by more than this share of it.
    Otherwise a larger popularity weight could always buy hits by showing everybody the same. None: all points are used. Same
    meaning as the gate's tolerances.
    """


class Point(NamedTuple):
    """One point of the grid."""

    half_life_days: float
    weight: float
    together: float
    values: Floats
    """[cases]: HR@K + NDCG@K."""
    coverage: float
    long_tail: float


def fit(cases: Sequence[Case], catalogue: EvaluationCatalogue, current: ServingParams, rule: FitRule) -> ServingParams:
    """The fitted serving parameters. Maximises the mean of HR@K + NDCG@K.

    Half-life and weight change only if the best point beats the current one by more than chance. Then the chosen point is the one
    nearest to the current point, among those within one standard error of the best. This is the rule of Breiman, Friedman, Olshen
    and Stone, Classification and Regression Trees, 1984, with nearness instead of simplicity. The threshold is fitted for the
    chosen point.

    With too few cases the current values stay. Raises ValueError for two targets at once.
    """
    if rule.target_precision is not None and rule.target_volume is not None:
        raise ValueError("set a target precision or a target volume for the threshold, not both")
    if len(cases) < rule.min_cases:
        return current
    points = grid(cases, catalogue, current, rule)
    chosen = choose(points, current, [case.user for case in cases], rule)
    fitted = replace(current, half_life_days=chosen.half_life_days, popularity_weight=chosen.weight, together_weight=chosen.together)
    return replace(fitted, threshold=target_threshold(cases, catalogue, fitted, rule))


def grid(cases: Sequence[Case], catalogue: EvaluationCatalogue, current: ServingParams, rule: FitRule) -> list[Point]:
    """All points of the grid. The users' vectors and their product with the catalogue are computed once per half-life. A weight only
    adds its prior.
    """
    half_lives = sorted({*rule.half_lives_days, current.half_life_days})
    weights = list(product(sorted({*rule.weights, current.popularity_weight}), _together_weights(catalogue, current, rule)))
    tail = ~head(catalogue.interactions)
    points = []
    for half_life in half_lives:
        values, shown = np.empty((len(weights), len(cases))), np.zeros((len(weights), len(catalogue.ids)), np.int64)
        for chunk in chunks(cases, catalogue, half_life):
            some = cases[chunk.places]
            for place, (weight, together) in enumerate(weights):
                ranked = top(chunk, catalogue, weight, rule.count, together)
                result = per_case(hits(ranked, some, catalogue), some)
                values[place, chunk.places] = result.hit + result.ndcg
                shown[place] += np.bincount(ranked.rows[ranked.rows >= 0], minlength=len(catalogue.ids))
        coverage = (shown > 0).sum(axis=1) / max(1, int(catalogue.open_rows.sum()))
        long_tail = shown[:, tail].sum(axis=1) / np.maximum(1, shown.sum(axis=1))
        points += [
            Point(half_life, *pair, *rest) for pair, *rest in zip(weights, values, coverage.tolist(), long_tail.tolist(), strict=True)
        ]
    return points


def _together_weights(catalogue: EvaluationCatalogue, current: ServingParams, rule: FitRule) -> list[float]:
    """Without a table every weight ranks alike, and the current one stays."""
    return [current.together_weight] if catalogue.together is None else sorted({*rule.together_weights, current.together_weight})


def choose(points: Sequence[Point], current: ServingParams, users: Sequence[str], rule: FitRule) -> Point:
    """A point by the rule of ``fit``; ``current`` must be among the points."""
    own = (current.half_life_days, current.popularity_weight, current.together_weight)
    now = next(p for p in points if (p.half_life_days, p.weight, p.together) == own)
    if rule.spread_tolerance is not None:
        least = 1 - rule.spread_tolerance
        points = [p for p in points if p.coverage >= least * now.coverage and p.long_tail >= least * now.long_tail]
    best = max(points, key=lambda point: (float(point.values.mean()), -_distance(point, current)))
    gain, error = _gain(best.values - now.values, users)
    if gain <= rule.evidence * error:
        return now
    near = []
    for point in points:
        behind, error = _gain(best.values - point.values, users)
        if behind <= error:
            near.append(point)
    return min(near, key=lambda point: (_distance(point, current), -float(point.values.mean())))


def _gain(differences: Floats, users: Sequence[str]) -> tuple[float, float]:
    """The mean and its standard error. Users are independent; the cases of one user are not."""
    numbers: dict[str, int] = {}
    owner = [numbers.setdefault(user, len(numbers)) for user in users]
    mean = float(differences.mean())
    apart = np.bincount(owner, differences - mean)
    return mean, sqrt(float(apart @ apart)) / len(differences)


def _distance(point: Point, current: ServingParams) -> float:
    """In doublings of the half-life; a step of .1 of popularity's weight, or of .5 of the other, counts as one doubling."""
    weights = 10 * abs(point.weight - current.popularity_weight) + 2 * abs(point.together - current.together_weight)
    return abs(log2(point.half_life_days / current.half_life_days)) + weights


def target_threshold(cases: Sequence[Case], catalogue: EvaluationCatalogue, fitted: ServingParams, rule: FitRule) -> float:
    """The threshold that reaches the rule's target; without one it stays."""
    if rule.target_precision is None and rule.target_volume is None:
        return fitted.threshold
    ranked = rank_by(cases, catalogue, fitted, rule.count)
    if rule.target_volume is not None:
        return for_volume(ranked, rule.target_volume, otherwise=fitted.threshold)
    return for_precision(ranked, hits(ranked, cases, catalogue), rule.target_precision or 0.0, otherwise=fitted.threshold)


def for_volume(ranked: Ranked, volume: float, *, otherwise: float) -> float:
    """The threshold that lets at most ``volume`` items per request pass on average, and as nearly as many as equal scores allow.
    ``otherwise`` if nothing is ranked. Raises ValueError if the volume is not positive.
    """
    if not volume > 0:
        raise ValueError("the target volume must be above 0 items a request")
    scores = np.sort(ranked.scores[ranked.rows >= 0])[::-1]
    if not len(scores):
        return otherwise
    allowed = int(volume * len(ranked.rows) + 1e-9)
    return _just_below(float(scores[-1])) if allowed >= len(scores) else float(scores[allowed])


def for_precision(ranked: Ranked, found: Bools, precision: float, *, otherwise: float) -> float:
    """The lowest threshold above which at least ``precision`` of the items are targets; ``otherwise`` where none reaches it with at
    least 50 items. Raises ValueError if the precision is not from 0 to 1."""
    if not 0 <= precision <= 1:
        raise ValueError("the target precision must be from 0 to 1")
    shown = ranked.rows >= 0
    scores, good = ranked.scores[shown], found[shown]
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    reached = np.cumsum(good[order]) / np.arange(1, len(scores) + 1)
    # Equal scores pass together: only the last of them can be the last that passes.
    last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]
    enough = np.flatnonzero((reached >= precision) & last & (np.arange(len(scores)) >= LEAST_ITEMS - 1))
    return _between(scores, int(enough[-1])) if len(enough) else otherwise


def _between(scores: Floats, place: int) -> float:
    """The threshold that lets the scores up to ``place`` pass, and none after it. Scores are in descending order."""
    return float(scores[place + 1]) if place + 1 < len(scores) else _just_below(float(scores[place]))


def _just_below(score: float) -> float:
    return float(np.nextafter(score, -np.inf))
