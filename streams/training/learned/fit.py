"""Fits a ranker to a shop's own past: lists at past moments, LightGBM's LambdaMART in two shapes, and the choice between them.

Burges, "From RankNet to LambdaRank to LambdaMART: an overview", 2010; Ke et al., "LightGBM", NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.features import FEATURES, LEVELS
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.prepared import Items
from streams.ranking.rules import ProfileRules
from streams.training.evaluation.metrics import discounts
from streams.training.learned.ease import fit_ease
from streams.training.learned.lists import Lists, make_lists
from streams.training.learned.past import VISIT_MS, PastShop
from streams.training.learned.trees import forest_of, tables_of

Floats = npt.NDArray[np.float64]
OnStep = Callable[[str], None]


class Shape(NamedTuple):
    """A kind of model; its settings were chosen on the validation cuts of docs/decisions/0013."""

    name: str
    leaves: int
    rounds: int
    truncation: int


ADDITIVE = Shape("additive", 2, 300, 30)
INTERACTING = Shape("with interactions", 8, 60, 10)
_COMMON = {
    "objective": "lambdarank",
    "learning_rate": 0.1,
    "min_data_in_leaf": 50,
    "min_sum_hessian_in_leaf": 5.0,
    "max_bin": 255,
    "min_data_in_bin": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
    "seed": 0,
}


@dataclass(frozen=True)
class RankerRule:
    """What a ranker is fitted to."""

    moments: int = 14
    first: float = 0.55
    """Share of the interactions before the first moment."""
    last: float = 0.96
    shoppers: int = 4000
    """Most lists at a moment."""
    least_lists: int = 200
    """With fewer lists that hold something taken, nothing is fitted."""
    count: int = 10
    threads: int = 0
    """0: one a core."""


class Fitted(NamedTuple):
    """A ranker, and how it did at the last moment, which it was not fitted to for that."""

    ranker: Ranker
    shape: str
    validation: dict[str, float]
    """NDCG@K of the lists at the last moment: ``additive``, ``with interactions``, ``sum`` (the hand-set weights)."""
    lists: int
    found: dict[str, float]
    """Share of what shoppers took at the last moment that each source of candidates found."""


def fit_ranker(past: PastShop, matrix: Items, rules: ProfileRules, rule: RankerRule, on_step: OnStep = lambda step: None) -> Fitted | None:
    """A ranker for the shop as it is at the end of ``past``; None where there is too little to fit it to.

    The last moment validates: models fitted to what lay before it are compared there, and the better shape is fitted to everything. The
    additive one is taken unless the other is better by more than its 95 % interval.
    """
    moments = past.moments(rule.moments, rule.first, rule.last)
    made: list[Lists] = []
    test: Lists | None = None
    for number, at_ms in enumerate(moments):
        on_step(f"lists of moment {number + 1} of {len(moments)}")
        past.advance(at_ms)
        known = past.interactions(at_ms)
        wanted = past.wanted(at_ms, past.end_ms, rule.shoppers)
        if wanted:
            related = fit_ease(known, shoppers=rules.together.shoppers)
            made.append(make_lists(wanted, matrix, past.popularity(), past.together(at_ms), related, rules))
            test = made[-1] if number + 1 == len(moments) else None
    # What is fitted to validate knows nothing of what came after the last moment.
    early = [some for lists in made if lists is not test and (some := lists.chosen(lists.at_ms + VISIT_MS < moments[-1])) is not None]
    usable = sum(int((taken(lists) > 0).sum()) for lists in early)
    # Lists of an earlier moment could not validate: they are among those that models are fitted to.
    if usable < rule.least_lists or test is None:
        return None
    validation = {"sum": float(ndcg(test, test.summed.astype(np.float64), rule.count).mean())}
    results: dict[Shape, tuple[Ranker, Floats]] = {}
    for shape in (ADDITIVE, INTERACTING):
        on_step(f"validating, {shape.name}")
        ranker = _ranker(_boosted(early, shape, rule), shape, early, nothing_related())
        results[shape] = (ranker, ndcg(test, ranker.scores(test.levels), rule.count))
        validation[shape.name] = float(results[shape][1].mean())
    gain = results[INTERACTING][1] - results[ADDITIVE][1]
    error = float(gain.std() / np.sqrt(max(1, len(gain))))
    chosen = INTERACTING if gain.mean() > 1.96 * error else ADDITIVE
    on_step(f"fitting, {chosen.name}")
    past.advance(past.end_ms)
    related = fit_ease(past.interactions(past.end_ms), shoppers=rules.together.shoppers)
    final = _ranker(_boosted(made, chosen, rule), chosen, made, related)
    count = sum(len(lists.sizes) for lists in made)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in validation.items())
    told = f"to {count} lists, {chosen.name}; NDCG@{rule.count} at the last moment: {scores}"
    ranker = replace(_calibrated(final, results[chosen][0], test, rule.count), fitted=told)
    return Fitted(ranker, chosen.name, validation, count, test.found)


def taken(lists: Lists) -> npt.NDArray[np.int64]:
    """int64 [lists]: candidates of each that were taken."""
    found: npt.NDArray[np.int64] = np.bincount(lists.owners, lists.labels > 0, minlength=len(lists.sizes)).astype(np.int64)
    return found


def ndcg(lists: Lists, scores: Floats, count: int) -> Floats:
    """float64 [lists]: NDCG@count, binary; what no source found counts as missed."""
    gains = discounts(count)
    rows, hits = _best(lists, scores, count)
    found = np.bincount(lists.owners[rows], hits * gains[_places(lists, rows)], minlength=len(lists.sizes))
    ideal = np.concatenate(([0.0], np.cumsum(gains)))[np.minimum(lists.wanted, count)]
    return np.asarray(found / np.maximum(ideal, 1e-12))


def _best(lists: Lists, scores: Floats, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
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


def _boosted(made: Sequence[Lists], shape: Shape, rule: RankerRule) -> list[Any]:
    """The trees, as ``dump_model`` gives them."""
    import lightgbm

    levels, labels, sizes = [], [], []
    generator = np.random.default_rng(0)
    for lists in made:
        useful = taken(lists) > 0
        # LambdaRank looks at the first of each list only, and at the start all scores are equal: in the candidates' own order it would
        # learn that order.
        order = np.lexsort((generator.random(len(lists.labels)), lists.owners))
        order = order[useful[lists.owners[order]]]
        levels.append(lists.levels[order])
        labels.append(lists.labels[order])
        sizes.append(lists.sizes[useful])
    data = lightgbm.Dataset(np.concatenate(levels), np.concatenate(labels), group=np.concatenate(sizes), params={**_COMMON})
    params = {**_COMMON, "num_leaves": shape.leaves, "lambdarank_truncation_level": shape.truncation, "num_threads": rule.threads}
    model = lightgbm.train(params, data, shape.rounds)
    return [tree["tree_structure"] for tree in model.dump_model()["tree_info"]]


def _ranker(trees: Sequence[Any], shape: Shape, made: Sequence[Lists], related: RelatedItems) -> Ranker:
    """Tables are centred: a share of 0 is that of the usual candidate."""
    if shape.leaves > 2:
        tables, forest, base = np.zeros((len(FEATURES), LEVELS)), forest_of(trees), 0.0
    else:
        tables, forest = tables_of(trees), no_forest()
        levels = np.concatenate([lists.levels for lists in made])
        means = np.array([tables[place].take(levels[:, place]).mean() for place in range(len(FEATURES))])
        # A feature that no tree asks for stays 0.
        tables -= np.where((tables != 0).any(axis=1), means, 0.0)[:, None]
        base = float(means.sum())
    return Ranker(tables.astype(np.float32), base, 1.0, 0.0, related, forest)


def _calibrated(final: Ranker, validated: Ranker, test: Lists, count: int) -> Ranker:
    """The scores moved to the scale of the sum that they replace (so a threshold keeps its meaning), and the probability fitted to what
    shoppers took of the lists' best at the last moment."""
    scores = validated.scores(test.levels)
    rows, hits = _best(test, scores, count)
    summed = test.summed[_best(test, test.summed.astype(np.float64), count)[0]].astype(np.float64)
    own = scores[rows]
    scale = float(summed.std() / max(float(own.std()), 1e-9))
    shift = float(summed.mean() - scale * own.mean())
    slope, intercept = logistic(scale * own + shift, hits)
    forest = final.forest._replace(values=final.forest.values * np.float32(scale), shapley=final.forest.shapley * np.float32(scale))
    return Ranker((final.tables * scale).astype(np.float32), scale * final.base + shift, slope, intercept, final.related, forest)


def logistic(scores: Floats, hits: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope, at least 0, and intercept of the logistic regression of hits on scores; one hit and one miss more, half a standard
    deviation about the mean, keep both finite (Platt, "Probabilistic outputs for support vector machines", 1999, for the targets)."""
    middle, spread = float(scores.mean()), max(float(scores.std()), 1e-9)
    at = (scores - middle) / spread
    positives, negatives = float(hits.sum()), float((~hits).sum())
    targets = np.where(hits, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    level = float(np.log(targets.mean() / (1 - targets.mean())))
    found, loss = np.array([0.0, level]), _loss(level * np.ones_like(at), targets)
    for _ in range(50):
        guess = 1 / (1 + np.exp(-np.clip(found[0] * at + found[1], -500, 500)))
        weight = guess * (1 - guess) + 1e-9
        gradient = np.array([((targets - guess) * at).sum(), (targets - guess).sum()])
        hessian = np.array([[(weight * at * at).sum() + 1e-6, (weight * at).sum()], [(weight * at).sum(), weight.sum()]])
        step = np.linalg.solve(hessian, gradient)
        # Newton's step may go too far, and then ever farther, where few scores differ from the rest.
        while np.abs(step).max() > 1e-9 and _loss((found[0] + step[0]) * at + found[1] + step[1], targets) > loss:
            step = step / 2
        if np.abs(step).max() <= 1e-9:
            break
        found = found + step
        loss = _loss(found[0] * at + found[1], targets)
    slope, intercept = found.tolist() if found[0] > 0 else (0.0, level)
    return slope / spread, intercept - slope * middle / spread


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())
