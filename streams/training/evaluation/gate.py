"""Decides whether a candidate may replace the incumbent: it must gain beyond chance, and no guarded value may fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

import numpy as np

from streams.training.evaluation.bootstrap import Interval, paired
from streams.training.evaluation.measure import Measurement
from streams.training.evaluation.metrics import PerCase

Metric = Literal["hit", "ndcg", "recall"]
METRICS: tuple[Metric, ...] = ("hit", "ndcg", "recall")


@dataclass(frozen=True)
class GateRule:
    """Rules of the gate. Tolerances are shares of the incumbent's value: .1 lets a guarded value fall by a tenth."""

    metric: Metric = "ndcg"
    """The metric that must gain."""
    confidence: float = 0.95
    """Confidence of the metric's two-sided interval. Its lower end must be above ``least_gain``."""
    least_gain: float = 0.0
    min_cases: int = 200
    min_users: int = 100
    """Minimum number of shoppers. Intervals are drawn over shoppers; over few of them they are too narrow, whatever the number of cases."""
    min_old_cases: int = 50
    """Minimum number of cases in the old slice. With fewer, forgetting is not judged, and the verdict says so."""
    coverage_tolerance: float = 0.1
    long_tail_tolerance: float = 0.1
    segment_tolerance: float = 0.1
    volume_tolerance: float = 0.2
    """Tolerance for the number of items per request that pass the threshold. A model must not gain by recommending less."""
    forgetting_tolerance: float = 0.05
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class GateVerdict:
    promote: bool
    reasons: Sequence[str]
    """The reasons: one per failed condition, or why the candidate passes."""
    differences: Mapping[str, Interval] = field(default_factory=dict)
    """Candidate minus incumbent: the metrics over all cases, ``old slice``, and each segment by name (in the chosen metric)."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The numbers that the rule used, by name, as the registry's manifest keeps them."""


def decide(candidate: Measurement, incumbent: Measurement, rule: GateRule) -> GateVerdict:
    """Judge two measurements of the same cases. Raises ValueError if the cases differ."""
    if list(candidate.users) != list(incumbent.users) or list(candidate.old_users) != list(incumbent.old_users):
        raise ValueError("candidate and incumbent were measured on different cases; measure both on the same slice")
    numbers = {f"{who}_{name}": value for who, of in (("candidate", candidate), ("incumbent", incumbent)) for name, value in _flat(of)}
    cases = len(candidate.users)
    if cases < rule.min_cases:
        return GateVerdict(False, [f"too few cases to judge: {cases}, at least {rule.min_cases} are needed"], {}, numbers)
    users = len(set(candidate.users))
    if users < rule.min_users:
        return GateVerdict(False, [f"too few shoppers to judge: {users}, at least {rule.min_users} are needed"], {}, numbers)
    broken = [name for name, value in numbers.items() if not isfinite(value)]
    if broken or not (_finite(candidate) and _finite(incumbent)):
        return GateVerdict(False, [f"not a finite number: {', '.join(broken) or 'results of single cases'}"], {}, numbers)

    differences: dict[str, Interval] = {
        metric: _difference(candidate.values, incumbent.values, candidate.users, metric, rule) for metric in METRICS
    }
    gain = differences[rule.metric]
    against: list[str] = []
    if gain.low <= rule.least_gain:
        against.append(
            f"{rule.metric} does not gain beyond chance: {_describe(gain)}, the lower end must be above {rule.least_gain:+.4f} "
            f"({rule.confidence:.0%} interval, {cases} cases)"
        )
    against += _falls("coverage", candidate.coverage, incumbent.coverage, rule.coverage_tolerance)
    against += _falls("long-tail share", candidate.long_tail, incumbent.long_tail, rule.long_tail_tolerance)
    against += _falls("volume", candidate.volume, incumbent.volume, rule.volume_tolerance)
    for name, mask in incumbent.segments.items():
        owners = [user for user, own in zip(candidate.users, mask.tolist(), strict=True) if own]
        ours, theirs = (PerCase(*(column[mask] for column in of.values)) for of in (candidate, incumbent))
        differences[name] = _difference(ours, theirs, owners, rule.metric, rule)
        against += _worse(name, differences[name], float(_of(incumbent.values, rule.metric)[mask].mean()), rule.segment_tolerance)
    remarks: list[str] = []
    if candidate.old is not None and incumbent.old is not None and len(candidate.old_users) >= rule.min_old_cases:
        differences["old slice"] = _difference(candidate.old, incumbent.old, candidate.old_users, rule.metric, rule)
        before = float(_of(incumbent.old, rule.metric).mean())
        against += _worse("old slice (forgetting)", differences["old slice"], before, rule.forgetting_tolerance)
    else:
        remarks.append(f"forgetting was not judged: {len(candidate.old_users)} cases in the old slice, {rule.min_old_cases} are needed")
    if against:
        return GateVerdict(False, against + remarks, differences, numbers)
    return GateVerdict(
        True, [f"{rule.metric} gains {_describe(gain)} over {cases} cases, no guarded value falls", *remarks], differences, numbers
    )


def _difference(candidate: PerCase, incumbent: PerCase, users: Sequence[str], metric: Metric, rule: GateRule) -> Interval:
    values = _of(candidate, metric), _of(incumbent, metric)
    return paired(*values, users, confidence=rule.confidence, resamples=rule.resamples, seed=rule.seed)


def _falls(name: str, candidate: float, incumbent: float, tolerance: float) -> list[str]:
    """Check one number of the whole slice: it may not be lower than the tolerance allows."""
    if candidate >= incumbent * (1 - tolerance):
        return []
    return [f"{name} falls from {incumbent:.4f} to {candidate:.4f}, more than the {tolerance:.0%} that is allowed"]


def _worse(name: str, change: Interval, incumbent: float, tolerance: float) -> list[str]:
    """Check a segment or the old slice. They are small and their means uncertain. So one falls only if its mean is lower than allowed
    and its interval is below zero. Otherwise, among many segments, one that is lower by chance would stop every promotion.
    """
    if change.mean >= -tolerance * incumbent or change.high >= 0:
        return []
    return [f"{name}: falls by {_describe(change)} from {incumbent:.4f}, more than the {tolerance:.0%} that is allowed"]


def _describe(change: Interval) -> str:
    return f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"


def _of(values: PerCase, metric: Metric) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = getattr(values, metric)
    return found


def _flat(of: Measurement) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = [(metric, float(_of(of.values, metric).mean()) if len(of.users) else 0.0) for metric in METRICS]
    found += [("coverage", of.coverage), ("long_tail", of.long_tail), ("threshold", of.threshold)]
    return [*found, ("precision", of.precision), ("volume", of.volume)]


def _finite(of: Measurement) -> bool:
    return all(bool(np.isfinite(column).all()) for values in (of.values, of.old) if values is not None for column in values)
