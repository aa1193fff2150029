"""Measures drift of scores: histograms over fixed bins, and the distance between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import numpy.typing as npt


def coarsen(reference: Sequence[int], recent: Sequence[int], bins: int = 10) -> tuple[list[int], list[int]]:
    """Two histograms over the same fine bins, with neighbouring bins merged so that each part holds at least 1 / ``bins`` of the
    reference. There are fewer parts if many scores are equal. Raises ValueError if the numbers of bins differ.

    >>> coarsen([0, 5, 5, 0, 10], [1, 1, 1, 1, 1], bins=2)
    ([10, 10], [3, 2])
    """
    total, before, lately = sum(reference), [0], [0]
    for old, new in zip(reference, recent, strict=True):
        if before[-1] and before[-1] * bins >= total:
            before.append(0)
            lately.append(0)
        before[-1] += old
        lately[-1] += new
    if len(before) > 1 and before[-1] * bins < total:
        before[-2:], lately[-2:] = [sum(before[-2:])], [sum(lately[-2:])]
    return before, lately


def histogram(scores: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> list[int]:
    """How many scores fall into each of the len(edges) + 1 bins; one at an edge belongs to the bin above it."""
    counts: list[int] = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1).tolist()
    return counts


def population_stability(reference: Sequence[int], recent: Sequence[int]) -> float:
    """The population stability index Σ (p - q) · ln(p / q) of two histograms over the same bins; 0 for equal shares. Half a count is
    added to every bin, so that an empty one does not make it infinite. Raises ValueError if the bins differ in number.

    >>> population_stability([10, 20, 30], [100, 200, 300]) < 0.01
    True
    """
    if len(reference) != len(recent):
        raise ValueError(f"histograms of {len(reference)} and {len(recent)} bins can't be compared")
    total_p, total_q = sum(reference) + 0.5 * len(reference), sum(recent) + 0.5 * len(recent)
    shares = [((p + 0.5) / total_p, (q + 0.5) / total_q) for p, q in zip(reference, recent, strict=True)]
    return sum((p - q) * log(p / q) for p, q in shares)
