"""Cases for judging a model: a shopper at a moment, and what she did next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.item_space import fit
from streams.engine.ports import FloatArray
from streams.ranking.together_table import TogetherTable
from streams.training.evaluation.fixed_items import FixedItems, fixed_items
from streams.training.evaluation.popularity import Popularity

if TYPE_CHECKING:
    from streams.training.evaluation.score_learned import Learned


class Part(NamedTuple):
    """One element of a history."""

    kind: Literal["item", "query"]
    ref: str
    """Item id, or the query's text."""
    weight: float
    """As of its own time."""
    age_ms: int
    """At the case's time."""


class Case(NamedTuple):
    """One shopper at one moment. Cases of the same user are not independent: intervals are drawn over users."""

    user: str
    history: Sequence[Part]
    targets: frozenset[str]
    """The items that she turned to next; never empty."""
    excluded: frozenset[str]
    """Items that may not be recommended to her."""
    at_ms: int
    events: int
    """Number of earlier events of the shopper. It separates new users from heavy users."""


@dataclass(frozen=True, eq=False)
class EvaluationCatalogue:
    """The items under one model. Arrays have one row an item."""

    ids: Sequence[str]
    vectors: FloatArray
    """float32 [items, dimension], of unit length, as they are served (see ``served_vectors``)."""
    popularity: Popularity
    interactions: npt.NDArray[np.float64]
    """[items]: number of interactions with each item before the cases. It defines the long tail."""
    categories: Sequence[str | None] = ()
    """Empty, or one an item."""
    queries: Mapping[str, FloatArray] = field(default_factory=dict)
    """Such vectors of the histories' query texts; a query without vector is left out."""
    recommendable: npt.NDArray[np.bool_] | None = None
    """[items]; None: all are."""
    together: TogetherTable | None = None
    """What was bought together before the cases."""
    price_bands: Sequence[int | None] = ()
    """Empty, or one an item."""
    learned: Learned | None = None
    """A ranker, and the tables that it needs; None: cases are ranked by the hand-set sum."""
    layout: ClassVar[int] = 0
    """Rows never change hands."""

    def __post_init__(self) -> None:
        """Raises ValueError if the lengths differ."""
        count = len(self.ids)
        lengths = {len(self.vectors), len(self.interactions), self.popularity.counts.shape[1], len(self.categories) or count}
        lengths.add(count if self.recommendable is None else len(self.recommendable))
        if lengths != {count}:
            raise ValueError(f"a catalogue of {count} items has arrays of other lengths: {sorted(lengths)}")

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Item id to row."""
        return {item_id: row for row, item_id in enumerate(self.ids)}

    @cached_property
    def items(self) -> FixedItems:
        """As the ranking reads them."""
        return fixed_items(self.ids, self.vectors, self.open_rows, self.categories, self.price_bands)

    @property
    def open_rows(self) -> npt.NDArray[np.bool_]:
        """bool [items]: what may be recommended at all."""
        return np.ones(len(self.ids), np.bool_) if self.recommendable is None else self.recommendable


class ServedVectors(NamedTuple):
    """Vectors as the profile stage compares them."""

    items: FloatArray
    queries: FloatArray


def served_vectors(items: FloatArray, queries: FloatArray | None = None) -> ServedVectors:
    """Unit vectors [n, dimension] in the space of the items; what WhitenedItemMatrix serves when it has just been fitted."""
    space = fit(items)
    asked = np.zeros((0, items.shape[1]), np.float32) if queries is None else queries
    return ServedVectors(space.transform(items), space.transform(asked))
