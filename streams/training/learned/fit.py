"""Fits a ranker to a shop's own past: lists at past moments, models of two shapes, and the choice between them.

The additive one is our own (``additive.py``), the one with interactions is LightGBM's LambdaMART: Burges, "From RankNet to LambdaRank to
LambdaMART: an overview", 2010; Ke et al., "LightGBM", NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.learned.features import FEATURES, LEVELS, Levels
from streams.ranking.learned.model import Forest, Ranker, no_forest
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.prepared import Items
from streams.ranking.rules import ProfileRules
from streams.training.learned.additive import Additive, AdditiveRule, fit_additive
from streams.training.learned.ease import MOST_ITEMS, fit_related
from streams.training.learned.lists import Lists, make_lists
from streams.training.learned.logistic import logistic
from streams.training.learned.ndcg import best, ndcg, taken
from streams.training.learned.past import VISIT_MS, PastShop
from streams.training.learned.trees import forest_of

Floats = npt.NDArray[np.float64]
OnStep = Callable[[str], None]
_NOTHING = 1e-4
"""A feature that changes no score by more says nothing."""


ADDITIVE, INTERACTING = "additive", "with interactions"
_LEAVES, _TREES = 8, 60
_BOOSTING = {
    "objective": "lambdarank",
    "num_leaves": _LEAVES,
    "lambdarank_truncation_level": 10,
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
"""Chosen on the validation cuts of docs/decisions/0013."""


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
    least_searches: int = 30
    """With fewer answered searches at the last moment, searches are left to the sum."""
    count: int = 10
    threads: int = 0
    """Of LightGBM; 0: one a core."""
    additive: AdditiveRule = field(default_factory=AdditiveRule)


class Fitted(NamedTuple):
    """A ranker, and how it did at the last moment, which it was not fitted to for that."""

    ranker: Ranker
    shape: str
    validation: dict[str, float]
    """NDCG@K of the lists at the last moment: ``additive``, ``with interactions``, ``sum`` (the hand-set weights); of searches
    ``searches`` and ``searches, sum``, where enough were answered."""
    lists: int
    found: dict[str, float]
    """Share of what shoppers took at the last moment that each source of candidates found."""

    @property
    def beats_the_sum(self) -> bool:
        """Whether it ranked better than the hand-set weights at the last moment."""
        return self.validation[self.shape] > self.validation["sum"]


def fit_ranker(
    past: PastShop,
    matrix: Items,
    rules: ProfileRules,
    rule: RankerRule,
    on_step: OnStep = lambda step: None,
    logged: Lists | None = None,
    queries: Mapping[str, FloatArray] = MappingProxyType({}),
) -> Fitted | None:
    """A ranker for the shop as it is at the end of ``past``; None where there is too little to fit it to. ``logged``: lists as they were
    served, which are learnt from beside the rebuilt ones, and validate nothing. ``queries``: vectors of ``past.texts`` in the items'
    space; a text without one is compared by its words alone.

    The last moment validates: models fitted to what lay before it are compared there, and the better shape is fitted to everything. The
    additive one is taken unless the other is better by more than its 95 % interval. Answers to searches are learnt from where that makes
    searches better than the hand-set sum does, and other answers not worse by more than the interval; else the sum answers searches.
    """
    moments = past.moments(rule.moments, rule.first, rule.last)
    shoppers = rules.together.shoppers
    local = past.shared_items(shoppers) > MOST_ITEMS
    made: list[Lists] = []
    asked: list[Lists] = []
    test: Lists | None = None
    for number, at_ms in enumerate(moments):
        on_step(f"lists of moment {number + 1} of {len(moments)}")
        past.advance(at_ms)
        known = past.interactions(at_ms)
        wanted = past.wanted(at_ms, past.end_ms, rule.shoppers)
        searched = past.searched(at_ms, past.end_ms, rule.shoppers)
        if wanted or searched:
            tables = past.popularity(), past.together(at_ms), fit_related(known, shoppers=shoppers, local=local), rules
            made += [make_lists(wanted, matrix, *tables, queries)] if wanted else []
            asked += [make_lists(searched, matrix, *tables, queries)] if searched else []
            test = made[-1] if wanted and number + 1 == len(moments) else None
    if logged is not None:
        made.append(logged)
    # What is fitted to validate knows nothing of what came after the last moment.
    early = _before(made, moments[-1]) if moments else []
    # Lists of an earlier moment could not validate: they are among those that models are fitted to.
    if _usable(early) < rule.least_lists or test is None:
        return None
    validation = {"sum": float(ndcg(test, test.summed.astype(np.float64), rule.count).mean())}
    results: dict[str, tuple[Ranker, Floats]] = {}
    smooth = 0.0
    for shape in (ADDITIVE, INTERACTING):
        on_step(f"validating, {shape}")
        if shape == ADDITIVE:
            ranker, smooth = _smoothed(early, test, rule)
        else:
            ranker = _interacting(early, rule, nothing_related())
        results[shape] = (ranker, ndcg(test, ranker.scores(test.levels), rule.count))
        validation[shape] = float(results[shape][1].mean())
    gain = results[INTERACTING][1] - results[ADDITIVE][1]
    chosen = INTERACTING if gain.mean() > 1.96 * _error(gain) else ADDITIVE
    if asked:
        on_step("validating, searches")
        searching = _searching(early, asked, moments[-1], test, results[chosen], chosen, rule, smooth)
        validation |= searching.validation
        if searching.validated is not None:
            made += asked
            results[chosen] = searching.validated
    on_step(f"fitting, {chosen}")
    past.advance(past.end_ms)
    related = fit_related(past.interactions(past.end_ms), shoppers=shoppers, local=local)
    final = fitted_to(made, chosen, rule, related, smooth)
    count = sum(len(lists.sizes) for lists in made)
    of_them = "" if logged is None else f" ({len(logged.sizes)} of them logged)"
    scores = ", ".join(f"{name} {value:.4f}" for name, value in validation.items())
    told = f"to {count} lists{of_them}, {chosen}; NDCG@{rule.count} at the last moment: {scores}"
    ranker = replace(_calibrated(final, results[chosen][0], test, rule.count), fitted=told)
    return Fitted(ranker, chosen, validation, count, test.found)


class _Searching(NamedTuple):
    """Whether answers to searches are learnt from."""

    validation: dict[str, float]
    validated: tuple[Ranker, Floats] | None = None
    """The ranker that learnt from them too, and its NDCG [lists] at the last moment; None where they are better left to the sum."""


def _searching(
    early: Sequence[Lists],
    asked: Sequence[Lists],
    last_ms: int,
    test: Lists,
    without: tuple[Ranker, Floats],
    shape: str,
    rule: RankerRule,
    smooth: float,
) -> _Searching:
    before = _before(asked, last_ms)
    # Those of several moments may be the same searches: the last moment's alone judge.
    later = asked[-1].chosen(asked[-1].at_ms >= last_ms)
    if later is None or _usable(before) < rule.least_lists or _usable([later]) < rule.least_searches:
        return _Searching({})
    ranker = fitted_to([*early, *before], shape, rule, nothing_related(), smooth)
    found = ndcg(test, ranker.scores(test.levels), rule.count)
    loss = without[1] - found
    by_sum = ndcg(later, later.summed.astype(np.float64), rule.count)
    gain = ndcg(later, ranker.scores(later.levels), rule.count) - by_sum
    validation = {"searches": float((by_sum + gain).mean()), "searches, sum": float(by_sum.mean())}
    is_better = gain.mean() > 1.96 * _error(gain) and loss.mean() <= 1.96 * _error(loss)
    return _Searching(validation, (ranker, found) if is_better else None)


def _error(numbers: Floats) -> float:
    """Standard error of the mean."""
    return float(numbers.std() / np.sqrt(max(1, len(numbers))))


def _before(made: Sequence[Lists], last_ms: int) -> list[Lists]:
    """The lists in which all was taken before that time."""
    return [some for lists in made if (some := lists.chosen(lists.at_ms + VISIT_MS < last_ms)) is not None]


def _usable(made: Sequence[Lists]) -> int:
    """In how many lists something was taken."""
    return sum(int((taken(lists) > 0).sum()) for lists in made)


def fitted_to(made: Sequence[Lists], shape: str, rule: RankerRule, related: RelatedItems, smooth: float) -> Ranker:
    """A ranker of this shape and these lists alone, compared with none, on the model's own scale; ``smooth`` is how smooth curves are.
    Raises ValueError where nothing was taken in any list."""
    if not any((lists.labels > 0).any() for lists in made):
        raise ValueError("nothing was taken in any list")
    return _additive(made, rule, smooth, related) if shape == ADDITIVE else _interacting(made, rule, related)


def _smoothed(made: Sequence[Lists], test: Lists, rule: RankerRule) -> tuple[Ranker, float]:
    """The additive ranker that ranks best at ``test``, and how smooth its curves are; of equal ones the smoothest."""
    found = [(_additive(made, rule, smooth, nothing_related()), smooth) for smooth in sorted(rule.additive.smooth, reverse=True)]
    return max(found, key=lambda one: float(ndcg(test, one[0].scores(test.levels), rule.count).mean()))


def _additive(made: Sequence[Lists], rule: RankerRule, smooth: float, related: RelatedItems) -> Ranker:
    levels, labels, sizes = _shuffled(made)
    return _centred(fit_additive(levels, _gains(labels), sizes, rule.additive, smooth), levels, related)


def _interacting(made: Sequence[Lists], rule: RankerRule, related: RelatedItems) -> Ranker:
    forest = _boosted(*_shuffled(made), rule)
    return Ranker(np.zeros((len(FEATURES), LEVELS), np.float32), 0.0, 1.0, 0.0, related, forest)


def _gains(labels: npt.NDArray[np.int8]) -> Floats:
    """float64: of each grade, as LambdaMART has them."""
    return np.asarray(2.0 ** labels.astype(np.float64) - 1.0)


def _shuffled(made: Sequence[Lists]) -> tuple[Levels, npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Levels [pairs, features], labels [pairs] and sizes of the lists of which something was taken.

    Each in an order drawn at random: LambdaRank looks at the first of each list only, and at the start all scores are equal. In the
    candidates' own order it would learn that order."""
    levels, labels, sizes = [], [], []
    generator = np.random.default_rng(0)
    for lists in made:
        useful = taken(lists) > 0
        order = np.lexsort((generator.random(len(lists.labels)), lists.owners))
        order = order[useful[lists.owners[order]]]
        levels.append(lists.levels[order])
        labels.append(lists.labels[order])
        sizes.append(lists.sizes[useful])
    return np.concatenate(levels), np.concatenate(labels), np.concatenate(sizes)


def _boosted(levels: Levels, labels: npt.NDArray[np.int8], sizes: npt.NDArray[np.int64], rule: RankerRule) -> Forest:
    import lightgbm

    data = lightgbm.Dataset(levels, labels, group=sizes, params={**_BOOSTING})
    model = lightgbm.train({**_BOOSTING, "num_threads": rule.threads}, data, _TREES)
    return forest_of([tree["tree_structure"] for tree in model.dump_model()["tree_info"]])


def _centred(fitted: Additive, levels: Levels, related: RelatedItems) -> Ranker:
    """Every table moved so that a share of 0 is that of the usual candidate."""
    tables, crosses = fitted.tables.copy(), fitted.crosses
    means = np.array([table.take(levels[:, place]).mean() for place, table in enumerate(tables)])
    # A feature that says nothing stays 0 everywhere: it need not be looked up.
    tables[np.ptp(tables, axis=1) < _NOTHING] = 0.0
    means[~tables.any(axis=1)] = 0.0
    tables -= means[:, None]
    cells = crosses.cells(levels).T
    middles = np.array([table.take(own).mean() for table, own in zip(crosses.tables, cells, strict=True)]).reshape(-1, 1)
    centred = crosses._replace(tables=(crosses.tables - middles).astype(np.float32))
    return Ranker(tables.astype(np.float32), float(means.sum() + middles.sum()), 1.0, 0.0, related, no_forest(), crosses=centred)


def _calibrated(final: Ranker, validated: Ranker, test: Lists, count: int) -> Ranker:
    """The scores moved to the scale of the sum that they replace (so a threshold keeps its meaning), and the probability fitted to what
    shoppers took of the lists' best at the last moment."""
    scores = validated.scores(test.levels)
    rows, hits = best(test, scores, count)
    summed = test.summed[best(test, test.summed.astype(np.float64), count)[0]].astype(np.float64)
    own = scores[rows]
    scale = float(summed.std() / max(float(own.std()), 1e-9))
    shift = float(summed.mean() - scale * own.mean())
    slope, intercept = logistic(scale * own + shift, hits)
    forest = final.forest._replace(values=final.forest.values * np.float32(scale), shapley=final.forest.shapley * np.float32(scale))
    tables, crosses = (final.tables * scale).astype(np.float32), final.crosses
    crosses = crosses._replace(tables=(crosses.tables * scale).astype(np.float32))
    return replace(final, tables=tables, base=scale * final.base + shift, slope=slope, intercept=intercept, forest=forest, crosses=crosses)
