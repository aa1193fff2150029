"""Gives a new model to a share of the shoppers first. Their reactions decide, however often they are looked at.

The test is valid at any time. A confidence sequence holds the true difference at all times at once with the stated confidence. So to stop
at the first look that shows a difference does not raise the rate of errors. It is the mixture sequential probability ratio test of Johari,
Koomen, Pekelis and Walsh, "Peeking at A/B tests" (KDD 2017). The variances are estimated from the data, as justified for large counts by
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of
Statistics 2024). Compare Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences"
(Annals of Statistics 2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, isfinite, log, sqrt
from typing import Literal, NamedTuple

Action = Literal["promote", "roll back", "go on", "give up"]


@dataclass(frozen=True)
class CanaryRule:
    """The rules of a canary. The unit is one recommendation; its reward is the sum over its items."""

    alpha: float = 0.05
    """Probability, over the whole canary, that a difference is claimed where there is none."""
    scale: float = 0.1
    """The size of the difference that is detected soonest, in the unit of the reward. Other differences are detected, too. It changes
    the time until a decision, not the validity.
    """
    design_effect: float = 1.0
    """Factor for the variances of single recommendations (Kish, Survey Sampling, 1965). Variances between shoppers are measured."""
    min_each: int = 200
    """Minimum number of recommendations of each model before a decision."""
    max_candidate: int = 50_000
    """Number of recommendations of the candidate after which the canary is given up undecided."""
    max_ms: int = 7 * 86_400_000
    """Time after which the canary is given up undecided, milliseconds."""


class Arm(NamedTuple):
    """The sums of the rewards of one model."""

    size: int = 0
    """Number of recommendations."""
    total: float = 0.0
    squares: float = 0.0
    between: float | None = None
    """Variance of the mean between shoppers, see ``between``. None: recommendations count as independent."""

    def plus(self, rewards: Iterable[float]) -> Arm:
        """The sums with more rewards added. Raises ValueError for one that is not finite, because it would spoil the sums permanently."""
        size, total, squares, _ = self
        for reward in rewards:
            if not isfinite(reward):
                raise ValueError("a reward must be a finite number")
            size, total, squares = size + 1, total + reward, squares + reward * reward
        return Arm(size, total, squares)

    @property
    def mean(self) -> float:
        return self.total / self.size if self.size else 0.0

    @property
    def variance(self) -> float:
        """Of one reward, unbiased; never negative."""
        if self.size < 2:
            return 0.0
        return max(0.0, (self.squares - self.total * self.total / self.size) / (self.size - 1))


CLUSTERS = 128
_LEAST_CLUSTERS = 20


def cluster_of(pseudonym: str) -> int:
    """Shoppers are drawn, not recommendations, so the variance is taken between shoppers: in ``CLUSTERS`` groups by hash, which bounds
    what has to be kept."""
    return int.from_bytes(blake2b(pseudonym.encode(), digest_size=2, person=b"vs.cluster").digest(), "big") % CLUSTERS


def between(clusters: Iterable[tuple[int, float]]) -> float:
    """The variance of Σ totals / Σ sizes over clusters of (size, total of rewards), by linearization of the ratio (Cochran, Sampling
    Techniques, 1977, section 9A.4); infinite with fewer than 20 clusters."""
    known = [(size, total) for size, total in clusters if size]
    if len(known) < _LEAST_CLUSTERS:
        return inf
    count = sum(size for size, _ in known)
    mean = sum(total for _, total in known) / count
    apart = sum((total - mean * size) ** 2 for size, total in known)
    return apart * len(known) / (len(known) - 1) / count**2


class Decision(NamedTuple):
    action: Action
    reason: str
    difference: float
    """Mean reward of the candidate less the incumbent's."""
    low: float
    high: float
    """The confidence sequence's interval now."""


def compare(incumbent: Arm, candidate: Arm, elapsed_ms: int, rule: CanaryRule) -> Decision:
    """Promote if the interval is above 0, roll back if it is below 0, give up at the end of count or time, otherwise go on. The first
    answer that is not ``go on`` is final; the caller stops asking.
    """
    difference, radius = candidate.mean - incumbent.mean, _radius(incumbent, candidate, rule)
    low, high = difference - radius, difference + radius
    finding = f"difference in mean reward {difference:+.4f}, between {low:+.4f} and {high:+.4f} ({candidate.size} recommendations)"
    if min(incumbent.size, candidate.size) >= rule.min_each:
        if low > 0:
            return Decision("promote", f"the new model earns more: {finding}", difference, low, high)
        if high < 0:
            return Decision("roll back", f"the new model earns less: {finding}", difference, low, high)
    if candidate.size >= rule.max_candidate:
        return Decision(
            "give up", f"no difference found in {rule.max_candidate} recommendations; the old model stays: {finding}", difference, low, high
        )
    if elapsed_ms >= rule.max_ms:
        days = rule.max_ms / 86_400_000
        return Decision("give up", f"no difference found in {days:.1f} days; the old model stays: {finding}", difference, low, high)
    return Decision("go on", f"not decided: {finding}", difference, low, high)


def _radius(incumbent: Arm, candidate: Arm, rule: CanaryRule) -> float:
    """With V the variance of the difference of means and τ the scale, |difference - truth| stays below
    √( 2 · V · (V + τ²) / τ² · (ln(1/α) + ½ · ln((V + τ²) / V)) ) for all times at once with probability 1 - α: there the normal
    mixture √(V / (V + τ²)) · exp(τ² d² / (2 V (V + τ²))) of likelihood ratios reaches 1/α (Johari et al., equation 9)."""
    if min(incumbent.size, candidate.size) < 2:
        return inf
    spread = sum(max(rule.design_effect * arm.variance / arm.size, arm.between or 0.0) for arm in (incumbent, candidate))
    if spread == inf:
        return inf
    if spread == 0.0:
        # All rewards alike, in both: nothing is known of how they vary.
        return inf
    mixed = spread + rule.scale**2
    return sqrt(2.0 * spread * mixed / rule.scale**2 * (log(1.0 / rule.alpha) + 0.5 * log(mixed / spread)))
