"""The popularity of an item: decayed counts of its events, and its part of the score."""

from __future__ import annotations

from math import inf, log2
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray

DAY_MS = 86_400_000
OTHER_HALF_LIVES_MS = (2.0 * DAY_MS, 15.0 * DAY_MS, 60.0 * DAY_MS)
"""Of the counts beside the one whose half-life is a setting."""
UNKNOWN = -1
"""A time that has not come."""

EXACT_EXPOSURES = 64
"""Exposures of an item in one partition up to which each counts. Beyond, one of ``EXPOSURE_STEP`` counts for all of them: an item that is
shown all the time must not be written all the time."""
EXPOSURE_STEP = 16


class DecayedCount(NamedTuple):
    """Weighted events, each halved once per half-life of its age at ``as_of_ms``, and what else is counted of an item."""

    value: float
    as_of_ms: int
    source_offset: int
    """Of the last event counted."""
    others: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The same with each of ``OTHER_HALF_LIVES_MS``."""
    first_ms: int = UNKNOWN
    """Event time of the first event counted."""
    bought_ms: int = UNKNOWN
    """Event time of the last purchase."""
    buyers: int = 0
    """Purchases by shoppers who had not bought it before, as far as their profiles know."""

    exposures: int = 0
    """Times that it was shown (``EXACT_EXPOSURES``)."""
    dismissals: int = 0
    """Shoppers who dismissed it, as far as their profiles know."""
    returns: int = 0
    """Shoppers who bought and returned it, as far as their profiles know."""

    newcomers: float = 0.0
    """The part of ``value`` that shoppers had on the first day of theirs."""

    def plus(
        self,
        weight: float,
        time_ms: int,
        offset: int,
        half_life_ms: float,
        *,
        others: tuple[float, float, float] | None = None,
        bought: bool = False,
        new_buyer: bool = False,
        is_newcomer: bool = False,
    ) -> DecayedCount:
        """With one event more. It may be older than ``as_of_ms``; then it is decayed, not the count. ``others``: its weights in the other
        counts, if they are not the same.

        >>> DecayedCount(1.0, 0, 5).plus(1.0, 1000, 6, half_life_ms=1000).value
        1.5
        """
        before_ms, after_ms = max(0, time_ms - self.as_of_ms), max(0, self.as_of_ms - time_ms)
        short, medium, long = (
            count * decay(before_ms, other_ms) + more * decay(after_ms, other_ms)
            for count, more, other_ms in zip(self.others, others or (weight, weight, weight), OTHER_HALF_LIVES_MS, strict=True)
        )
        before, after = decay(before_ms, half_life_ms), decay(after_ms, half_life_ms)
        return DecayedCount(
            self.value * before + weight * after,
            max(time_ms, self.as_of_ms),
            offset,
            (short, medium, long),
            time_ms if self.first_ms == UNKNOWN else min(self.first_ms, time_ms),
            max(self.bought_ms, time_ms) if bought else self.bought_ms,
            self.buyers + new_buyer,
            self.exposures,
            self.dismissals,
            self.returns,
            self.newcomers * before + (weight * after if is_newcomer else 0.0),
        )

    def with_outcome(self, offset: int, *, exposures: int = 0, dismissals: int = 0, returns: int = 0) -> DecayedCount:
        """With one more event of those that are no popularity: decayed counts and times stay to the last bit."""
        return self._replace(
            source_offset=offset,
            exposures=self.exposures + exposures,
            dismissals=self.dismissals + dismissals,
            returns=self.returns + returns,
        )


def decay(age_ms: float, half_life_ms: float) -> float:
    """2^(-age / half-life), 0 if that is too small for a double."""
    return float(2.0 ** (-age_ms / half_life_ms))


_USUAL = 3.0
_KNOWN_LEAST = 1.0
_NEWCOMERS_LEAST = 0.5
_TINY = 1e-9
"""A share of a sum that its running differences may be off by."""


def usual_newcomers(counts: float, newcomers: float) -> float:
    """Newcomers' mass over that of all others, of the sums over a shop; infinite where there are no others.

    In steps of one per cent, so that it does not depend on the order in which the sums were made.

    >>> usual_newcomers(5.0, 1.0), usual_newcomers(5.0, 5.0)
    (0.25, inf)
    """
    known = counts - newcomers
    if known <= _TINY * counts:
        return inf
    return float(2.0 ** (round(log2(max(newcomers / known, _TINY)) * 64) / 64))


def held_back(
    counts: npt.NDArray[np.float64], newcomers: npt.NDArray[np.float64], usual: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """The counts, float64 of any shape, without what is implausible of their part by newcomers.

    ``usual`` is ``usual_newcomers`` of the shop. An item's newcomers count at most
    three times as much as newcomers usually do beside as many others and one more, and a half: who opens accounts for an item has nobody
    beside them. What is held back counts as soon as shoppers who were there before turn to the item.

    >>> held_back(np.array([40.0, 40.0]), np.array([10.0, 40.0]), 0.3).tolist()
    [40.0, 1.4]
    """
    known = counts - newcomers
    most = _USUAL * usual * (known + _KNOWN_LEAST) + _NEWCOMERS_LEAST
    held: npt.NDArray[np.float64] = known + np.minimum(newcomers, most)
    return held


def prior(counts: npt.NDArray[np.float64], weight: float) -> FloatArray:
    """weight · ln(1 + decayed count), float32, for counts of any shape.

    The score is cosine + prior. The logarithm is used because the hundredth purchase is weaker evidence than the first.
    """
    return (weight * np.log1p(counts)).astype(np.float32)
