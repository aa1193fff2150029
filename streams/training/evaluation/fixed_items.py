"""A catalogue that does not change, as the ranking reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.engine.ports import CandidateScan, FloatArray
from streams.ranking.item_matrix import NO_BAND, NO_CATEGORY
from streams.ranking.lexical import TermIndex
from streams.ranking.select import Groups, groups_of


@dataclass(frozen=True, eq=False)
class FixedItems:
    """Rows by item; all arrays have one row an item."""

    ids: Sequence[str]
    rows: Mapping[str, int]
    vectors: FloatArray
    """float32 [items, dimension], as they are served."""
    recommendable: npt.NDArray[np.bool_]
    categories: npt.NDArray[np.int32]
    price_bands: npt.NDArray[np.int16]
    terms: TermIndex = field(default_factory=TermIndex)
    layout: int = 0
    scan: CandidateScan | None = None

    @property
    def products(self) -> npt.NDArray[np.uint64]:
        """uint64 [items]: the texts are not known here, so no item is another's variant."""
        return np.arange(len(self.ids), dtype=np.uint64)

    @property
    def groups(self) -> npt.NDArray[np.uint64]:
        """uint64 [items]: the same."""
        return self.products

    @property
    def grouped(self) -> Groups:
        """None have one."""
        return groups_of(np.zeros(0, np.uint64), np.zeros(0, np.intp))

    @property
    def has_groups(self) -> bool:
        return False

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])


def fixed_items(
    ids: Sequence[str],
    vectors: FloatArray,
    recommendable: npt.NDArray[np.bool_],
    categories: Sequence[str | None] = (),
    price_bands: Sequence[int | None] = (),
) -> FixedItems:
    """Categories become numbers; empty: no item has one."""
    numbers: dict[str, int] = {}
    named = np.full(len(ids), NO_CATEGORY, np.int32)
    for row, category in enumerate(categories):
        if category is not None:
            named[row] = numbers.setdefault(category, len(numbers))
    bands = np.full(len(ids), NO_BAND, np.int16)
    for row, band in enumerate(price_bands):
        if band is not None:
            bands[row] = band
    return FixedItems(list(ids), {item: row for row, item in enumerate(ids)}, vectors, recommendable, named, bands)
