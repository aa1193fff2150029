"""The popularity of an item: a decayed count of its events, and its part of the score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray


class DecayedCount(NamedTuple):
    """Weighted events, each halved once per half-life of its age at ``as_of_ms``."""

    value: float
    as_of_ms: int
    source_offset: int
    """Of the last event counted."""

    def plus(self, weight: float, time_ms: int, offset: int, half_life_ms: float) -> DecayedCount:
        """With one event more. It may be older than ``as_of_ms``; then it is decayed, not the count.

        >>> DecayedCount(1.0, 0, 5).plus(1.0, 1000, 6, half_life_ms=1000)
        DecayedCount(value=1.5, as_of_ms=1000, source_offset=6)
        """
        if time_ms >= self.as_of_ms:
            return DecayedCount(self.value * decay(time_ms - self.as_of_ms, half_life_ms) + weight, time_ms, offset)
        return DecayedCount(self.value + weight * decay(self.as_of_ms - time_ms, half_life_ms), self.as_of_ms, offset)


def decay(age_ms: float, half_life_ms: float) -> float:
    """2^(-age / half-life), 0 if that is too small for a double."""
    return float(2.0 ** (-age_ms / half_life_ms))


def prior(counts: npt.NDArray[np.float64], weight: float) -> FloatArray:
    """weight · ln(1 + decayed count), float32, for counts of any shape.

    The score is cosine + prior. The logarithm is used because the hundredth purchase is weaker evidence than the first.
    """
    return (weight * np.log1p(counts)).astype(np.float32)
