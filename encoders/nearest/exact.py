"""Candidates by the whole matrix product in fp32: nothing that may be among the best is missed."""

from __future__ import annotations

import numpy as np
import torch

from encoders.engines.engine import Vectors
from encoders.kernels import scan as kernels
from encoders.nearest.decide import CandidatePairs, Rows, pairs_of

_BLOCK = 8192
"""Items multiplied at a time. A thread of torch's that has lost its processor to another program delays each product, so they are few."""
_UNIT_ROUNDOFF = 2.0**-24


def candidates(users: Vectors, vectors: Vectors, wanted: Rows, *, prior: Vectors | None, masked: Rows, floor: float) -> CandidatePairs:
    """All pairs that may be among their user's ``wanted`` best by cosine + prior and above ``floor``, ``masked`` rows left out."""
    count, (rows, dimension) = len(users), vectors.shape
    if not count or not rows:
        return CandidatePairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    most = int(wanted.max(initial=1))
    capacity = 64 + 6 * most
    kept = (np.zeros((count, capacity), np.int32), np.zeros((count, capacity), np.float32), np.zeros(count, np.int64))
    # Two ways to add up one dot product of unit vectors are at most this far apart (Higham, Accuracy and Stability of Numerical
    # Algorithms, section 3.1), and adding the prior rounds once more.
    slack = 4.0 * (dimension + 4) * _UNIT_ROUNDOFF
    bounds = np.full(count, floor - slack, np.float32)
    columns = torch.from_numpy(np.ascontiguousarray(users.T))
    scores = torch.empty(_BLOCK, count)
    for first in range(0, rows, _BLOCK):
        block = vectors[first : first + _BLOCK]
        out = scores[: len(block)]
        torch.mm(torch.from_numpy(block), columns, out=out)
        values = out.numpy()
        if prior is not None:
            values += prior[first : first + len(block), None]
        if masked.size:
            low, high = np.searchsorted(masked, (first, first + len(block)))
            values[masked[low:high] - first] = -np.inf
        kernels.collect(values, first, wanted, slack, bounds, kept)
    return pairs_of([kept], wanted, slack, count)
