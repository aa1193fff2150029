"""The item matrix in the catalogue's own space (see item_space.py), which is fitted anew when the catalogue has changed enough."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from encoders.item_space import ItemSpace, fit, identity
from streams.engine.ports import CandidateScan, FloatArray, RecordCodec
from streams.engine.records import SourceRecord
from streams.ranking.item_matrix import ItemMatrix

_CHANGED_SHARE = 0.05
"""The space is fitted anew when so many of its items have come, gone or changed."""
_AT_ONCE = 10_000
"""Rows up to which that is done on the spot (tenths of a second); more are done on a thread, and the old space serves until then."""


class _Fitted(NamedTuple):
    space: ItemSpace
    vectors: FloatArray
    items: int


class WhitenedItemMatrix(ItemMatrix):
    """``vectors`` holds the rows in the catalogue's space; queries must go through ``transform`` before they are compared.

    All rows are of one space at any time, and ``transform`` is into the same one.
    """

    def __init__(
        self,
        codec: RecordCodec,
        version: str,
        dimension: int,
        *,
        make_scan: Callable[[FloatArray], CandidateScan | None] | None = None,
        exact_up_to: int = 0,
        at_once: int = _AT_ONCE,
        changed_share: float = _CHANGED_SHARE,
    ) -> None:
        """``make_scan``: an index of these vectors, or None where it would miss too much; asked for once, when there are more than
        ``exact_up_to`` rows. ``at_once``: the most rows that are fitted without a thread. ``changed_share``: of the items, that
        must have changed before the space is fitted anew; infinity: only by ``fit_now``. Raises as ``ItemMatrix``.
        """
        super().__init__(codec, version, dimension)
        self._make_scan = make_scan
        self._exact_up_to = exact_up_to
        self._at_once = at_once
        self._scan: CandidateScan | None = None
        self._space = identity(dimension)
        self._fitted_items = 0
        self._changes = 0
        """Since the space was fitted."""
        self._whitened: FloatArray = np.zeros((0, dimension), np.float32)
        self._stale: set[int] = set()
        self._fitting: Future[_Fitted] | None = None
        self._stale_since: set[int] = set()
        """Rows that changed while the fitting runs."""
        self._space_number = 0
        self._changed_share = changed_share
        self._space_of: list[int] = []
        self._fitting_of: list[int] = []

    @property
    def vectors(self) -> FloatArray:
        """float32 [rows, dimension], of unit length, free rows zero; valid until the next ``apply``."""
        self._refresh()
        return self._whitened[: len(self.ids)]

    @property
    def scan(self) -> CandidateScan | None:
        """The index of ``vectors``; None where they are compared exactly. Valid until the next ``apply``."""
        if self._make_scan is None or len(self.ids) <= self._exact_up_to:
            return None
        vectors = self.vectors
        if self._scan is None:
            self._scan = self._make_scan(vectors)
            if self._scan is None:
                self._make_scan = None
        return self._scan

    @property
    def space_number(self) -> int:
        """Of the space that ``vectors`` and ``transform`` are in now: a fitting that is due is done first, or what was transformed
        under this number would be compared with rows of the next space."""
        self._refresh()
        return self._space_number

    @property
    def space_of(self) -> list[int]:
        """As in ``ItemMatrix``: of the space that ``vectors`` are in."""
        self._refresh()
        return self._space_of

    @property
    def fitting(self) -> Future[object] | None:
        """Done when a new space is there for ``take_fitted``; None where none is being fitted."""
        return self._fitting  # type: ignore[return-value]

    def transform(self, vectors: FloatArray) -> FloatArray:
        """The encoder's vectors [..., dimension] in the space of the rows, of unit length."""
        self._refresh()
        return self._space.transform(vectors)

    def take_fitted(self) -> None:
        """Go over to a space that a thread has finished. Nowhere else is that done, so what is compared between two calls is of one
        space. Raises what the thread raised."""
        fitting = self._fitting
        if fitting is not None and fitting.done():
            self._adopt(fitting.result(), self._stale_since, self._fitting_of)
            self._fitting = None

    def fit_now(self) -> None:
        """Fit the space to what there is, at once."""
        self._adopt(_fit(self._vectors[: len(self.ids)], len(self)), set(), self.read.following)

    def _apply_one(self, item_id: str, record: SourceRecord) -> None:
        row = self.rows.get(item_id)
        super()._apply_one(item_id, record)
        row = self.rows.get(item_id) if record.value is not None else row
        if row is not None:
            self._changes += 1
            self._stale.add(row)
            self._stale_since.add(row)

    def _refresh(self) -> None:
        if not self._stale:
            return
        if self._changes and self._changes >= self._changed_share * self._fitted_items and self._fitting is None:
            if len(self.ids) <= self._at_once:
                self.fit_now()
            else:
                self._begin(self._vectors[: len(self.ids)])
        self._grow_whitened()
        rows = np.fromiter(self._stale, np.intp, len(self._stale))
        self._space_rows(rows)
        self._stale.clear()

    def _begin(self, raw: FloatArray) -> None:
        """The rows are copied: others may be put while the thread works."""
        self._changes = 0
        self._stale_since = set()
        self._fitting_of = self.read.following
        pool = ThreadPoolExecutor(1, thread_name_prefix="item-space")
        self._fitting = pool.submit(_fit, raw.copy(), len(self))
        pool.shutdown(wait=False)

    def _adopt(self, fitted: _Fitted, changed: set[int], of: list[int]) -> None:
        """All rows at once; those that changed meanwhile are stale in the new space too."""
        self._space_of = of
        self._space, self._fitted_items = fitted.space, fitted.items
        self._space_number += 1
        if self._fitting is None:
            self._changes = 0
        self._whitened = fitted.vectors
        self._stale = set(changed)
        if self._scan is not None:
            self._scan.put(np.arange(len(fitted.vectors)), fitted.vectors)

    def _grow_whitened(self) -> None:
        if len(self._whitened) < len(self._vectors):
            grown = np.zeros(self._vectors.shape, np.float32)
            grown[: len(self._whitened)] = self._whitened
            self._whitened = grown

    def _space_rows(self, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> None:
        if not len(rows):
            return
        some = np.empty((len(rows), self.dimension), np.float32)
        self._space.transform_rows(self._vectors[rows], some)
        self._whitened[rows] = some
        if self._scan is not None:
            self._scan.put(rows, some)


def _fit(raw: FloatArray, items: int) -> _Fitted:
    space = fit(raw)
    vectors = np.empty_like(raw)
    space.transform_rows(raw, vectors)
    return _Fitted(space, vectors, items)
