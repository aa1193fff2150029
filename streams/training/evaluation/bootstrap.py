"""Confidence intervals by the bootstrap over users (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile method).

Users are drawn, not cases. The cases of one user are similar, so intervals over single cases would be too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_DRAWS_IN_MEMORY = 4_000_000


class Interval(NamedTuple):
    """A mean over all cases and the interval that holds it."""

    mean: float
    low: float
    high: float


def interval(values: Floats, users: Sequence[str], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of ``values`` [cases]; NaN if there are none. Raises ValueError if lengths differ."""
    if len(values) != len(users):
        raise ValueError(f"{len(values)} values of {len(users)} users")
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    numbers: dict[str, int] = {}
    owner = np.array([numbers.setdefault(user, len(numbers)) for user in users], np.intp)
    sums = np.bincount(owner, values)
    counts = np.bincount(owner).astype(np.float64)
    drawn = np.concatenate([(times @ sums) / (times @ counts) for times in draws(len(numbers), resamples, seed)])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired(
    candidate: Floats, incumbent: Floats, users: Sequence[str], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of candidate - incumbent over the same cases. Raises ValueError if lengths differ."""
    if len(candidate) != len(incumbent):
        raise ValueError(f"{len(candidate)} results beside {len(incumbent)}: not the same cases")
    return interval(candidate - incumbent, users, confidence=confidence, resamples=resamples, seed=seed)


def draws(users: int, resamples: int, seed: int) -> list[Floats]:
    """How often each user is drawn, [some resamples, users], until all resamples are made. Each part has its own generator. So the
    same seed gives the same draws, whatever the values are.
    """
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWS_IN_MEMORY // users)
    parts = []
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        picked = generator.integers(0, users, (some, users)) + np.arange(some)[:, None] * users
        parts.append(np.bincount(picked.ravel(), minlength=some * users).reshape(some, users).astype(np.float64))
    return parts
