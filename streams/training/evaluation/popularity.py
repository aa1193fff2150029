"""Decayed popularity counts at several moments, so that a case is judged with the counts known at its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.ranking.popularity import held_back, usual_newcomers


@dataclass(frozen=True)
class Popularity:
    """Snapshots of the counts that the profile stage keeps (streams/ranking/popularity.py)."""

    times_ms: npt.NDArray[np.int64]
    """[snapshots], ascending."""
    counts: npt.NDArray[np.float64]
    """[snapshots, items], each as of its time."""
    half_life_ms: float

    def __post_init__(self) -> None:
        """Raises ValueError if the snapshots are not in order or not as many as the times."""
        if len(self.times_ms) != len(self.counts) or len(self.times_ms) == 0:
            raise ValueError("popularity needs at least one snapshot, and as many as there are times")
        if (np.diff(self.times_ms) <= 0).any():
            raise ValueError("the snapshots of popularity must be in order of time")

    def which(self, at_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """For each moment the last snapshot at or before it (never a later one: it would know what is to be foretold); the first
        one for what lies before all."""
        places: npt.NDArray[np.intp] = np.maximum(np.searchsorted(self.times_ms, at_ms, side="right") - 1, 0)
        return places

    def at(self, at_ms: int) -> npt.NDArray[np.float64]:
        """float64 [items]: the counts decayed to that moment."""
        place = int(self.which(np.array([at_ms], np.int64))[0])
        age_ms = max(0, at_ms - int(self.times_ms[place]))
        decayed: npt.NDArray[np.float64] = self.counts[place] * 2.0 ** (-age_ms / self.half_life_ms)
        return decayed


def snapshots(
    rows: npt.NDArray[np.intp],
    weights: npt.NDArray[np.float64],
    times_ms: npt.NDArray[np.int64],
    *,
    at_ms: Sequence[int],
    items: int,
    half_life_ms: float,
) -> Popularity:
    """The counts before each of the moments, from events (item row, weight, time): Σ weight · 2^(-age / half-life).

    An event at the very moment is not counted: it may be part of what is to be foretold.
    """
    moments = np.array(sorted(set(at_ms)), np.int64)
    order = np.argsort(times_ms, kind="stable")
    rows, weights, times_ms = rows[order], weights[order], times_ms[order]
    ends = np.searchsorted(times_ms, moments, side="left")
    counts = np.zeros((len(moments), items))
    start = 0
    for place, (moment, end) in enumerate(zip(moments.tolist(), ends.tolist(), strict=True)):
        if place:
            counts[place] = counts[place - 1] * 2.0 ** (-(moment - int(moments[place - 1])) / half_life_ms)
        decayed = weights[start:end] * 2.0 ** (-(moment - times_ms[start:end]) / half_life_ms)
        counts[place] += np.bincount(rows[start:end], decayed, minlength=items)
        start = end
    return Popularity(moments, counts, half_life_ms)


def plausible(everybody: Popularity, newcomers: Popularity) -> Popularity:
    """The counts with newcomers' part held back as in serving, at the same moments."""
    total, new = everybody.counts, newcomers.counts
    usual = np.array([usual_newcomers(*sums) for sums in zip(total.sum(axis=1).tolist(), new.sum(axis=1).tolist(), strict=True)])
    return Popularity(everybody.times_ms, held_back(total, new, usual[:, None]), everybody.half_life_ms)
