"""Training lists: at a past moment, each shopper's candidates, their levels, and what she took of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.learned.candidates import SOURCES
from streams.ranking.learned.features import Levels
from streams.ranking.learned.ranking import candidates_of
from streams.ranking.learned.related import RelatedItems
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Items, Prepared
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable, total_at
from streams.training.learned.past import Wanted

_AT_ONCE = 64


@dataclass(frozen=True)
class Lists:
    """One list a shopper and moment; lists one after another."""

    levels: Levels
    """uint8 [pairs, features]."""
    labels: npt.NDArray[np.int8]
    """[pairs]: grade of what the shopper took, 0 for the rest."""
    sizes: npt.NDArray[np.int64]
    """[lists]: pairs of each."""
    at_ms: npt.NDArray[np.int64]
    """[lists]: when the visit began on which something was taken."""
    wanted: npt.NDArray[np.int64]
    """[lists]: items that were taken, found or not."""
    summed: npt.NDArray[np.float32]
    """[pairs]: the score by hand-set weights."""
    found: dict[str, float]
    """Share of what was taken that each source found, and all of them together (``all``)."""

    def chosen(self, kept: npt.NDArray[np.bool_]) -> Lists | None:
        """The lists that are kept [lists]; None if none is. ``found`` stays that of all."""
        if not kept.any():
            return None
        pairs = kept[self.owners]
        return Lists(
            self.levels[pairs], self.labels[pairs], self.sizes[kept], self.at_ms[kept], self.wanted[kept], self.summed[pairs], self.found
        )

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """[pairs]: the list of each."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


def make_lists(
    wanted: Sequence[Wanted],
    matrix: Items,
    popularity: PopularityTable,
    together: TogetherTable,
    related: RelatedItems,
    rules: ProfileRules,
    queries: Mapping[str, FloatArray] = MappingProxyType({}),
) -> Lists:
    """The lists of these shoppers, candidates and levels exactly as they would have been served. ``queries``: vectors of query texts."""
    levels, labels, sizes, counts, summed = [], [], [], [], []
    by_source: dict[str, int] = dict.fromkeys((*SOURCES, "all"), 0)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        batch = Prepared([one.request for one in some], matrix, popularity, queries, rules)
        found = candidates_of(batch, popularity, together, related)
        size = max(1, len(matrix.ids))
        grades = {
            user * size + row: grade
            for user, one in enumerate(some)
            for item, grade in one.grades.items()
            if (row := matrix.rows.get(item)) is not None
        }
        keys = found.pairs.users * size + found.pairs.rows
        own = np.fromiter((grades.get(key, 0) for key in keys.tolist()), np.int8, len(keys))
        for source, theirs in found.sources.items():
            by_source[source] += sum(key in grades for key in theirs.tolist())
        by_source["all"] += int((own > 0).sum())
        levels.append(found.levels)
        labels.append(own)
        sizes.append(np.diff(found.pairs.begins))
        counts += [len(one.grades) for one in some]
        added = np.float32(rules.together_weight) * found.pairs_history + total_at(
            batch.matches, found.pairs.users, found.pairs.rows, rules.match_weight
        )
        summed.append(found.cosines + batch.priors[batch.which[found.pairs.users], found.pairs.rows] + added)
    total = max(1, sum(counts))
    return Lists(
        np.concatenate(levels),
        np.concatenate(labels),
        np.concatenate(sizes),
        np.array([one.at_ms for one in wanted], np.int64),
        np.array(counts, np.int64),
        np.concatenate(summed).astype(np.float32),
        {source: count / total for source, count in by_source.items()},
    )
