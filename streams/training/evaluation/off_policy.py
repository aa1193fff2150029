"""What a candidate ranker would have earned on answers that another one gave: estimates from logs, with intervals.

Position-based model: a shopper looks at a place with a probability that depends on the place alone, and what she does with an item that she
looks at depends on the item and herself. Then a reward, weighted by (exposure under the candidate) / (exposure under what served), is an
unbiased sample of the candidate's, for items that what served gives any exposure (inverse propensity scoring: Horvitz and Thompson, 1952;
for ranked lists: Li et al., "Offline evaluation of ranking policies with click models", KDD 2018). Dividing by what the weights add up to,
in place of what they add up to on average, takes out most of the variance (self-normalised: Swaminathan and Joachims, NIPS 2015).

Where what served is not randomised, an item that only the candidate would show earns nothing here. ``supported`` tells how much of the
candidate's exposure the logs can speak of; SNIPS takes the rest to earn as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.training.evaluation.bootstrap import Floats, Interval, draws, interval

MOST_WEIGHT = 10.0
"""Weights are clipped to it: it bounds what a single reaction can do, and draws the estimate towards less."""


class Shown(NamedTuple):
    """Items that were shown in logged answers, one entry each, and what they earned."""

    answers: npt.NDArray[np.int64]
    """[shown]: which answer."""
    rewards: Floats
    """[shown]."""
    seen: Floats
    """[shown]: probability that the place where it was shown is looked at, above 0."""
    served: Floats
    """[shown]: the item's probability of being looked at under what served, over its randomness; where it has none, ``seen``."""
    candidate: Floats
    """[shown]: the same under the candidate; 0 where it does not show the item."""
    totals: Floats
    """[answers]: what the candidate's places add up to."""
    users: Sequence[str]
    """[answers]: whose they are."""


class OffPolicy(NamedTuple):
    """Rewards an answer, with 95 % intervals over shoppers."""

    served: Interval
    """What was earned."""
    ips: Interval
    snips: Interval
    gain: Interval
    """SNIPS of the candidate less what was earned, of the same draws of shoppers."""
    answers: int
    shoppers: int
    supported: float
    """Share of the candidate's exposure that lies on items that were shown."""
    effective: float
    """How many shown items of weight 1 would say as much: (Σ w)² / Σ w²."""

    def __str__(self) -> str:
        if not self.answers:
            return "no logged answers to estimate from"
        return (
            f"estimated from {self.answers} logged answers of {self.shoppers} shoppers: {_told(self.snips)} rewards an answer (SNIPS), "
            f"{_told(self.ips)} (IPS), as served {_told(self.served)}; gain {_told(self.gain)}, "
            f"{self.supported:.0%} of its exposure was logged"
        )


def estimate(
    shown: Shown, *, most_weight: float = MOST_WEIGHT, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> OffPolicy:
    """Raises ValueError for exposures that are not above 0, or not finite rewards."""
    if not ((shown.served > 0).all() and (shown.seen > 0).all() and (shown.candidate >= 0).all() and np.isfinite(shown.rewards).all()):
        raise ValueError("what was shown had some exposure, and rewards are numbers")
    count = len(shown.users)
    weights = np.minimum(shown.candidate / shown.served, most_weight)

    def by_answer(values: Floats) -> Floats:
        return np.bincount(shown.answers, values, minlength=count).astype(np.float64)

    earned, valued, controls = by_answer(shown.rewards), by_answer(weights * shown.rewards), by_answer(weights * shown.seen)
    numbers: dict[str, int] = {}
    owner = np.array([numbers.setdefault(user, len(numbers)) for user in shown.users], np.intp)
    spread = {"confidence": confidence, "resamples": resamples, "seed": seed}
    squares = float((weights**2).sum())
    total = float(shown.totals.sum())
    snips, gain = _ratio(earned, valued, controls, shown.totals, owner, len(numbers), confidence, resamples, seed)
    return OffPolicy(
        served=interval(earned, shown.users, **spread),  # type: ignore[arg-type]
        ips=interval(valued, shown.users, **spread),  # type: ignore[arg-type]
        snips=snips,
        gain=gain,
        answers=count,
        shoppers=len(numbers),
        supported=float(controls.sum()) / total if total else 0.0,
        effective=float(weights.sum()) ** 2 / squares if squares else 0.0,
    )


def _ratio(
    earned: Floats,
    valued: Floats,
    controls: Floats,
    totals: Floats,
    owner: npt.NDArray[np.intp],
    users: int,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[Interval, Interval]:
    """SNIPS, and its gain. The weighted exposure of what was shown is the control: on average it is the candidate's."""
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    if not users or not controls.sum():
        return nothing, nothing
    sums = [np.bincount(owner, values) for values in (earned, valued, controls, totals)]
    counts = np.bincount(owner).astype(np.float64)
    found: list[Floats] = []
    for times in [np.ones((1, users)), *draws(users, resamples, seed)]:
        own, value, control, total = (times @ one for one in sums)
        known = np.maximum(control, 1e-12)
        answers = times @ counts
        found.append(np.stack((value / known * total / answers, own / answers)))
    both = np.concatenate(found, axis=1)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def told(values: Floats) -> Interval:
        low, high = np.quantile(values[1:], tails)
        return Interval(float(values[0]), float(low), float(high))

    return told(both[0]), told(both[0] - both[1])


def _told(of: Interval) -> str:
    return f"{of.mean:.4f} [{of.low:.4f}, {of.high:.4f}]"
