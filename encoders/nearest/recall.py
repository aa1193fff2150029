"""How much of the exact answer a scan finds, measured on probes that are like users."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from encoders.engines.engine import Vectors
from encoders.nearest import exact
from encoders.nearest.decide import CandidatePairs, Rows, decide

FLOOR = 0.98
"""Least recall at 10 of a scan that is used."""
_PROBES = 64
_K = 10


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
    wanted, none, ids = np.full(_PROBES, count, np.int64), np.zeros(0, np.int64), [""] * len(vectors)
    found = []
    for pairs in (
        exact.candidates(probes, vectors, wanted, prior=None, masked=none, floor=-2.0),
        scan.candidates(probes, wanted, prior=None, masked=none, floor=-2.0),
    ):
        found.append(decide(pairs, probes, vectors, ids, count=count, prior=None, threshold=-np.inf).scores)
    # By score, so that items with one and the same vector may stand for each other.
    return float(np.mean(found[1] >= found[0][:, -1:]))
