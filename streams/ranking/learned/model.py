"""A ranker: what each level of each feature adds to an item's score, and where features act together, tables of two or small trees.

The additive part is one table a feature, and for some features one that depends on another feature (a generalised additive model; Lou,
Caruana, Gehrke, "Intelligible models for classification and regression", 2012; with pairs: Lou, Caruana, Gehrke, Hooker, "Accurate
intelligible models with pairwise interactions", 2013): its shares are its table entries. Trees of at most eight leaves are kept by the
pattern of their nodes' answers, at most 2^7: the value of each pattern, and for each pattern the exact Shapley value of each of the tree's
features (Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020). So both explain
themselves by looking up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.crosses import Crosses, no_crosses
from streams.ranking.learned.features import FEATURES, LEVELS, NAMES, PLACE, Levels
from streams.ranking.learned.ranking import LearnedRanking
from streams.ranking.learned.related import RelatedItems
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Prepared
from streams.ranking.together_table import TogetherTable

NODES = 7
PATTERNS = 1 << NODES


class Forest(NamedTuple):
    """Trees by the patterns of their nodes' answers; node n says bit n: level > threshold."""

    features: npt.NDArray[np.uint8]
    """[trees, nodes]: of each node; nodes that a tree lacks ask feature 0 for a level above 255."""
    thresholds: npt.NDArray[np.uint8]
    """[trees, nodes]."""
    values: npt.NDArray[np.float32]
    """[trees, patterns]."""
    shapley: npt.NDArray[np.float32]
    """[trees, patterns, nodes]: what the node's feature adds, at the first node that asks for it; 0 at the others."""


def no_forest() -> Forest:
    return Forest(
        np.zeros((0, NODES), np.uint8),
        np.zeros((0, NODES), np.uint8),
        np.zeros((0, PATTERNS), np.float32),
        np.zeros((0, PATTERNS, NODES), np.float32),
    )


@dataclass(frozen=True, eq=False)
class Ranker:
    """A fitted model. It never changes."""

    tables: npt.NDArray[np.float32]
    """[features, levels]: what a level adds to the score."""
    base: float
    """The score of an item about which nothing is known."""
    slope: float
    """The probability that a recommended item is taken next is 1 / (1 + exp(-(slope · score + intercept)))."""
    intercept: float
    related: RelatedItems
    forest: Forest
    names: Sequence[str] = NAMES
    """Of the features, in the tables' order."""
    crosses: Crosses = field(default_factory=no_crosses)
    fitted: str = ""
    """What it was fitted to, and how well it did there; for people."""

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be served: another schema or order of features, a number that is none."""
        if tuple(self.names) != NAMES:
            raise ValueError(f"its features are {', '.join(self.names)}; this version computes {', '.join(NAMES)}")
        if self.tables.shape != (len(FEATURES), LEVELS):
            raise ValueError(f"its tables are {self.tables.shape}, not {(len(FEATURES), LEVELS)}")
        trees = len(self.forest.features)
        shapes = ((trees, NODES), (trees, NODES), (trees, PATTERNS), (trees, PATTERNS, NODES))
        if tuple(array.shape for array in self.forest) != shapes or (self.forest.features >= len(FEATURES)).any():
            raise ValueError("its trees are of another form")
        self.crosses.check()
        numbers = (
            self.tables,
            self.crosses.tables,
            self.forest.values,
            self.forest.shapley,
            np.array([self.base, self.slope, self.intercept]),
        )
        if not all(np.isfinite(number).all() for number in numbers):
            raise ValueError("it holds a number that is not finite")

    @property
    def searches(self) -> bool:
        """Whether the lists that it was fitted to answered searches: only then it knows what a match is worth."""
        asked = np.concatenate([self.forest.features.ravel(), self.crosses.features.ravel()])
        return PLACE["match"] in self.used or bool((asked == PLACE["match"]).any())

    def ranking(self, batch: Prepared, popularity: PopularityTable, together: TogetherTable) -> LearnedRanking:
        """The batch, ranked by it."""
        return LearnedRanking(batch, self, popularity, together)

    def scores(self, levels: Levels) -> npt.NDArray[np.float64]:
        """float64 [pairs]: the scores. That of a pair depends on its levels only."""
        total = np.full(len(levels), self.base)
        for place in self.used:
            total += self.tables[place].take(levels[:, place])
        if len(self.crosses.features):
            for table, cells in zip(self.crosses.tables, self.crosses.cells(levels).T, strict=True):
                total += table.take(cells)
        if len(self.forest.features):
            self._answers(levels, total)
        return total

    @cached_property
    def used(self) -> list[int]:
        """Places of the features whose tables say anything."""
        return np.flatnonzero((self.tables != 0).any(axis=1)).tolist()

    def shares(self, levels: Levels) -> npt.NDArray[np.float64]:
        """float64 [pairs, features + 1]: what each feature adds, and last the base; a row adds up to its score."""
        found = np.zeros((len(levels), len(FEATURES) + 1))
        for place in self.used:
            found[:, place] = self.tables[place].take(levels[:, place])
        if len(self.crosses.features):
            cells = self.crosses.cells(levels).T
            for (place, _), table, own in zip(self.crosses.features.tolist(), self.crosses.tables, cells, strict=True):
                found[:, place] += table.take(own)
        found[:, -1] = self.base
        if len(self.forest.features):
            from encoders.kernels import pair_sums

            patterns = self._answers(levels, np.zeros(len(levels)))
            # What a tree says whatever is known belongs to the base; rounding goes there too.
            pair_sums.forest_shares(patterns, self.forest.features, self.forest.values, self.forest.shapley, found)
        return found

    def probability(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float64, from 0 to 1: that an item with such a score is taken next where it is recommended."""
        found: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(self.slope * scores + self.intercept, -500, 500)))
        return found

    def _answers(self, levels: Levels, total: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        """uint8 [pairs, trees]: the patterns; what the trees say is added to ``total``."""
        from encoders.kernels import pair_sums

        forest = self.forest
        patterns = np.empty((len(levels), len(forest.features)), np.uint8, order="F")
        pair_sums.forest(np.asfortranarray(levels), forest.features, forest.thresholds, forest.values, patterns, total)
        return patterns
