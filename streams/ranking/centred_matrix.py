"""The item matrix, with the catalogue's mean subtracted from every vector.

The vectors of a sentence encoder share a large common part, because all titles of a shop are somewhat alike. This makes every cosine high
and the differences small. To subtract the common part and normalise again is the first step of Mu and Viswanath, "All-but-the-Top" (ICLR
2018). The effect is measured in docs/decisions/0002.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streams.engine.ports import CandidateScan, FloatArray, RecordCodec
from streams.engine.records import SourceRecord
from streams.ranking.item_matrix import ItemMatrix

_SHRINK_ITEMS = 50
"""With few items, the mean consists mostly of the items themselves. So it is computed as if this many items without direction were
added.
"""
_DRIFT = 0.01
"""All rows are computed again when the mean has moved by this much. Otherwise only changed rows."""


class CentredItemMatrix(ItemMatrix):
    """``vectors`` holds normalise(v - mean); queries must go through ``centre`` before they are compared."""

    def __init__(
        self,
        codec: RecordCodec,
        version: str,
        dimension: int,
        *,
        make_scan: Callable[[FloatArray], CandidateScan | None] | None = None,
        exact_up_to: int = 0,
    ) -> None:
        """``make_scan``: an index of these vectors, or None if it would miss too much; asked for once, when there are more than
        ``exact_up_to`` rows. Raises as ``ItemMatrix``.
        """
        super().__init__(codec, version, dimension)
        self._make_scan = make_scan
        self._exact_up_to = exact_up_to
        self._scan: CandidateScan | None = None
        self._sum = np.zeros(dimension, np.float64)
        self._mean: FloatArray = np.zeros(dimension, np.float32)
        self._centred: FloatArray = np.zeros((0, dimension), np.float32)
        self._stale: set[int] = set()

    @property
    def vectors(self) -> FloatArray:
        """float32 [rows, dimension], of unit length, free rows zero; valid until the next ``apply``."""
        if self._stale:
            self._refresh()
        return self._centred[: len(self.ids)]

    @property
    def scan(self) -> CandidateScan | None:
        """The index of ``vectors``; None if they are compared exactly. Valid until the next ``apply``."""
        if self._make_scan is None or len(self.ids) <= self._exact_up_to:
            return None
        vectors = self.vectors
        if self._scan is None:
            self._scan = self._make_scan(vectors)
            if self._scan is None:
                self._make_scan = None
        return self._scan

    def centre(self, vectors: FloatArray) -> FloatArray:
        """Unit vectors [..., dimension] without the catalogue's mean, of unit length again."""
        if self._stale:
            self._refresh()
        return _unit(vectors - self._mean)

    def _apply_one(self, item_id: str, record: SourceRecord) -> None:
        row = self.rows.get(item_id)
        before = None if row is None else self._vectors[row].astype(np.float64)
        super()._apply_one(item_id, record)
        if before is not None:
            self._sum -= before
        row = self.rows.get(item_id) if record.value is not None else row
        if row is not None:
            self._stale.add(row)
            if record.value is not None:
                self._sum += self._vectors[row]

    def _refresh(self) -> None:
        count = len(self.ids)
        mean = (self._sum / (len(self) + _SHRINK_ITEMS)).astype(np.float32)
        moved = float(np.linalg.norm(mean - self._mean)) > _DRIFT
        if len(self._centred) < len(self._vectors):
            grown = np.zeros(self._vectors.shape, np.float32)
            grown[: len(self._centred)] = self._centred
            self._centred = grown
        rows = np.arange(count) if moved else np.fromiter(self._stale, np.intp, len(self._stale))
        if moved:
            self._mean = mean
        raw = self._vectors[rows]
        self._centred[rows] = np.where(raw.any(axis=1, keepdims=True), _unit(raw - self._mean), np.float32(0))
        if self._scan is not None:
            self._scan.put(rows, self._centred[rows])
        self._stale.clear()


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: FloatArray = (vectors / np.maximum(norms, 1e-6)).astype(np.float32)
    return unit
