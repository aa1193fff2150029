"""How much of the exact answer a scan finds, measured on probes that are like users."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from encoders.engines.engine import Vectors
from encoders.nearest.candidates import CandidatePairs, Rows

FLOOR = 0.98
"""Least recall at 10 of a scan that is used."""
_PROBES = 64
_K = 10
_BLOCK = 16_384
"""Items multiplied at a time."""
_ROUNDING = 1e-6
"""Products with copies of one vector may differ by this much, depending on where in the block they stand."""


class Scans(Protocol):
    """The part of ``ItemScan`` that is needed here."""

    def candidates(self, users: Vectors, wanted: Rows, *, prior: Vectors | None, masked: Rows, floor: float) -> CandidatePairs: ...


def recall_of(scan: Scans, vectors: Vectors, *, seed: int = 0) -> float:
    """The share of the exact ten best that ``scan`` proposes, for probes that are like users: sums of one to four items, some noise."""
    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, len(vectors), (_PROBES, 4))
    chosen[: _PROBES // 2, 1:] = chosen[: _PROBES // 2, :1]
    probes = vectors[chosen].sum(axis=1) + generator.standard_normal((_PROBES, vectors.shape[1]), np.float32) / np.sqrt(vectors.shape[1])
    probes = (probes / np.maximum(np.linalg.norm(probes, axis=1, keepdims=True), 1e-6)).astype(np.float32)
    count = min(_K, len(vectors))
    pairs = scan.candidates(probes, np.full(_PROBES, count, np.int64), prior=None, masked=np.zeros(0, np.int64), floor=-2.0)
    best = np.full((_PROBES, count), -np.inf, np.float32)
    proposed = np.zeros(len(pairs.rows), np.float32)
    for first in range(0, len(vectors), _BLOCK):
        scores = probes @ vectors[first : first + _BLOCK].T
        here = np.flatnonzero((pairs.rows >= first) & (pairs.rows < first + scores.shape[1]))
        proposed[here] = scores[pairs.users[here], pairs.rows[here] - first]
        both = np.concatenate((best, scores), axis=1)
        best = np.partition(both, both.shape[1] - count, axis=1)[:, -count:]
    # By score, so that items with one and the same vector may stand for each other.
    good = proposed >= best.min(axis=1)[pairs.users] - _ROUNDING
    found = np.minimum(np.bincount(pairs.users[good], minlength=_PROBES), count)
    return float(found.mean() / count)
