"""A ranker for people: what each feature adds to the score at each of its values, and which features act together; as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.crosses import BINS
from streams.ranking.learned.features import FEATURES, LEVELS, Feature, value_of
from streams.ranking.learned.model import NODES, PATTERNS, Forest, Ranker

Floats = npt.NDArray[np.float64]

_BARS = "▁▂▃▄▅▆▇█"
_CELLS = 61
_TICKS = 5
_PAIRS = 12
"""Most pairs of features that are told one by one."""
_MARGIN = 4
"""Levels that are shown before the first change of a curve and after the last."""
_ANSWERS = (np.arange(PATTERNS)[:, None] >> np.arange(NODES)) & 1 == 1
"""bool [patterns, nodes]."""


class Curve(NamedTuple):
    """What one feature adds to the score."""

    feature: Feature
    weight: float
    """The most by which the feature's value can change a score."""
    mean: Floats
    """[levels]: what a level adds; where it depends on other features, the mean over their bins, in trees over all answers to their
    other questions."""
    low: Floats
    """[levels]: the least, whatever the other features are; the same where it depends on none."""
    high: Floats

    @property
    def shown(self) -> tuple[int, int]:
        """First and last level worth showing: beyond them nothing changes."""
        changes = np.flatnonzero(np.diff(np.stack((self.mean, self.low, self.high)), axis=1).any(axis=0))
        if not len(changes):
            return 0, LEVELS - 1
        return max(0, int(changes[0]) - _MARGIN), min(LEVELS - 1, int(changes[-1]) + 1 + _MARGIN)


class Pair(NamedTuple):
    """Two features that act together."""

    first: str
    second: str
    trees: int
    """That ask for both."""


def curves(ranker: Ranker) -> list[Curve]:
    """Of the features that are used, the heaviest first."""
    tables = ranker.tables.astype(np.float64)
    mean, low, high = tables.copy(), tables.copy(), tables.copy()
    weights = tables.max(axis=1) - tables.min(axis=1)
    used = set(ranker.used)
    for (place, _), bins, cells in zip(ranker.crosses.features.tolist(), ranker.crosses.bins, ranker.crosses.tables, strict=True):
        own = cells.astype(np.float64).reshape(BINS, BINS)[bins[0], : int(bins[1].max()) + 1]
        mean[place] += own.mean(axis=1)
        low[place] += own.min(axis=1)
        high[place] += own.max(axis=1)
        weights[place] += own.max() - own.min()
        used.add(place)
    for tree in range(len(ranker.forest.features)):
        for place, (middle, least, most) in _of_tree(ranker.forest, tree).items():
            mean[place] += middle
            low[place] += least
            high[place] += most
            weights[place] += most.max() - least.min()
            used.add(place)
    found = [Curve(FEATURES[place], float(weights[place]), mean[place], low[place], high[place]) for place in sorted(used)]
    return sorted(found, key=lambda curve: -curve.weight)


def base(ranker: Ranker) -> float:
    """What an item has whatever its features are: the ranker's own, and the part of each tree that no feature decides."""
    forest = ranker.forest
    return ranker.base + float(forest.values[:, 0].sum(dtype=np.float64) - forest.shapley[:, 0].sum(dtype=np.float64))


def unused(found: Sequence[Curve]) -> list[str]:
    """Names of the features without a curve."""
    names = {curve.feature.name for curve in found}
    return [feature.name for feature in FEATURES if feature.name not in names]


def pairs(forest: Forest) -> list[Pair]:
    """Features that some tree asks for both, those of most trees first."""
    counts: Counter[tuple[int, int]] = Counter()
    for features, thresholds in zip(forest.features.tolist(), forest.thresholds.tolist(), strict=True):
        counts.update(combinations(sorted({f for f, threshold in zip(features, thresholds, strict=True) if threshold < LEVELS - 1}), 2))
    found = [Pair(FEATURES[first].name, FEATURES[second].name, trees) for (first, second), trees in counts.items()]
    return sorted(found, key=lambda pair: (-pair.trees, pair.first, pair.second))


def text(ranker: Ranker, title: str) -> str:
    """The whole ranker: what it is, a block a feature, and which features act together."""
    found = curves(ranker)
    lines = [f"{title}: {len(found)} of {len(FEATURES)} features, {_form(ranker)}"]
    if ranker.fitted:
        lines.append(f"fitted: {ranker.fitted}")
    lines += [
        f"score of an item: {base(ranker):+.3f}, and what each feature adds",
        f"probability that it is taken next: 1 / (1 + exp({-ranker.intercept:.3f} - {ranker.slope:.3f} · score))",
        _related(ranker),
        "weight: the most by which a feature can change a score",
    ]
    if len(ranker.forest.features):
        lines.append("curve: the mean over all answers to the trees' other questions")
    if len(ranker.crosses.features):
        lines.append("curve: where it depends on another feature, the mean over that feature's values")
    for number, curve in enumerate(found, 1):
        lines += ["", *_block(number, curve)]
    if not found:
        lines += ["", "it uses no feature: every item has the same score"]
    depends = [f"{FEATURES[first].name} on {FEATURES[second].name}" for first, second in ranker.crosses.features.tolist()]
    lines += ["", f"curves that depend on another feature: {', '.join(depends)}"] if depends else []
    lines += ["", f"not used: {', '.join(unused(found)) or 'none, all are'}"]
    together = pairs(ranker.forest)
    if together:
        told = [f"{pair.first} × {pair.second} ({pair.trees})" for pair in together[:_PAIRS]]
        rest = len(together) - len(told)
        lines += ["", "act together, with the number of trees that ask for both:"]
        lines += [f"   {', '.join(told[start : start + 3])}" for start in range(0, len(told), 3)]
        lines += [f"   and {rest} more pairs in fewer trees"] if rest else []
    return "\n".join(lines) + "\n"


def amount(value: float) -> str:
    """A value in its feature's unit: three figures, whole from a hundred on."""
    if abs(value) < 1e-9:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


def label(feature: Feature, level: int) -> str:
    """The value of a level; where counts and times reach the end of the scale, that and more."""
    return amount(value_of(feature, level)) + ("+" if level == LEVELS - 1 and feature.curve == "log" else "")


def ticks(first: int, last: int, count: int = _TICKS) -> list[int]:
    """Levels from the first to the last, evenly."""
    return [round(level) for level in np.linspace(first, last, count).tolist()]


def sparkline(values: Floats, low: float, high: float) -> str:
    """A bar a value; the lowest stands for ``low``, the highest for ``high``."""
    span = max(high - low, 1e-12)
    heights = np.clip(np.rint((values - low) / span * (len(_BARS) - 1)), 0, len(_BARS) - 1).astype(int)
    return "".join(_BARS[height] for height in heights.tolist())


def _block(place: int, curve: Curve) -> list[str]:
    feature = curve.feature
    first, last = curve.shown
    levels = ticks(first, last, _CELLS)
    bars = sparkline(curve.mean[levels], float(curve.mean[first : last + 1].min()), float(curve.mean[first : last + 1].max()))
    marks = ticks(first, last)
    width = (_CELLS - 1) // (_TICKS - 1)
    values = "".join(label(feature, level).ljust(width) for level in marks)
    shares = "".join(f"{curve.mean[level]:+.3f}".ljust(width) for level in marks)
    return [
        f"{place:2}. {feature.name}: weight {curve.weight:.3f}, group {feature.group}",
        f"    {feature.meaning}",
        f"    {'':10}{bars}",
        f"    {feature.unit:<10}{values.rstrip()}",
        f"    {'adds':10}{shares.rstrip()}",
    ]


def _form(ranker: Ranker) -> str:
    trees = len(ranker.forest.features)
    if not trees:
        return "each by itself (an additive model)"
    nodes = int((ranker.forest.thresholds < LEVELS - 1).sum(axis=1).max())
    return f"{trees} trees of at most {nodes + 1} leaves" + (", and one table a feature" if ranker.used else "")


def _related(ranker: Ranker) -> str:
    items, weights = len(ranker.related.items), len(ranker.related.neighbours.others)
    if not items:
        return "related items: none; the feature `related` is 0 everywhere"
    return f"related items: {items:,} items, {weights:,} weights ({weights / items:.1f} an item)"


def _of_tree(forest: Forest, tree: int) -> dict[int, tuple[Floats, Floats, Floats]]:
    """Place of each feature that a tree asks for: mean, least and most [levels] that it adds."""
    features, thresholds = forest.features[tree].astype(int), forest.thresholds[tree].astype(int)
    asks = thresholds < LEVELS - 1
    possible = ~(_ANSWERS & ~asks).any(axis=1)
    for one, other in combinations(np.flatnonzero(asks).tolist(), 2):
        if features[one] == features[other]:
            lower, upper = sorted((one, other), key=lambda node: int(thresholds[node]))
            possible &= ~_ANSWERS[:, upper] | _ANSWERS[:, lower]
            if thresholds[lower] == thresholds[upper]:
                possible &= _ANSWERS[:, upper] == _ANSWERS[:, lower]
    found = {}
    for place in np.unique(features[asks]).tolist():
        nodes = np.flatnonzero(asks & (features == place))
        shares = forest.shapley[tree][:, nodes].sum(axis=1, dtype=np.float64)
        bounds = sorted({0, *(int(threshold) + 1 for threshold in thresholds[nodes])})
        mean, low, high = np.zeros(LEVELS), np.zeros(LEVELS), np.zeros(LEVELS)
        for first, end in zip(bounds, [*bounds[1:], LEVELS], strict=True):
            own = shares[possible & (_ANSWERS[:, nodes] == (first > thresholds[nodes])).all(axis=1)]
            mean[first:end], low[first:end], high[first:end] = own.mean(), own.min(), own.max()
        found[place] = (mean, low, high)
    return found
