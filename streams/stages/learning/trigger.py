"""Decides when a fine-tuning starts: enough new pairs, a schedule, drift, or a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal, NamedTuple

from croniter import croniter  # type: ignore[import-untyped]

from streams.errors import ConfigurationError
from streams.stages.learning.drift import population_stability

Cause = Literal["request", "pairs", "schedule", "drift"]


@dataclass(frozen=True)
class TriggerRule:
    """Rules of the trigger. Times are milliseconds. Raises ConfigurationError if the schedule is invalid."""

    min_pairs: int = 5000
    """Minimum number of new training pairs since the last start. 0: this cause is off."""
    cron: str | None = None
    """Schedule: five cron fields, UTC. None: no schedule."""
    min_pause_ms: int = 6 * 3_600_000
    """Minimum time from one start to the next, for every cause."""
    psi: float = 0.25
    """Population stability index at which the scores count as drifted. Below .1 nothing has changed, from .25 on much has changed
    (Siddiqi, Credit Risk Scorecards, 2006).
    """
    ignored_rise: float = 0.1
    """Rise of the ignored share of shown items that counts as drift."""
    min_window: int = 1000
    """Minimum number of scores or shown items in a window to measure drift."""

    def __post_init__(self) -> None:
        if self.cron is not None and not croniter.is_valid(self.cron):
            raise ConfigurationError(f"the schedule {self.cron!r} is not a cron expression; five fields are needed, such as `0 3 * * *`")


class Shown(NamedTuple):
    """The recommended items in a window, and how many of them had no reaction."""

    items: int
    ignored: int


_NOTHING_SHOWN = Shown(0, 0)


@dataclass(frozen=True)
class Situation:
    """The input of a decision."""

    now_ms: int
    since_ms: int
    """When the last fine-tuning started. If there was none: when the counting began."""
    started_before: bool = False
    """Whether there was a fine-tuning before. The pause is counted from it."""
    running: bool = False
    new_pairs: int = 0
    request: str | None = None
    """An operator's reason, from the control topic."""
    reference_scores: Sequence[int] = field(default_factory=tuple)
    """Number of scores in each bin, in the window after the last change of model."""
    recent_scores: Sequence[int] = field(default_factory=tuple)
    """The same bins in the newest window."""
    reference_shown: Shown = _NOTHING_SHOWN
    recent_shown: Shown = _NOTHING_SHOWN


class Decision(NamedTuple):
    start: bool
    cause: Cause | None
    """The cause of a start, even if it must wait. None: there is no cause."""
    reason: str


def decide(now: Situation, rule: TriggerRule) -> Decision:
    """Decide whether to start. A cause that must wait is not lost: it still holds at the next call."""
    found = _cause(now, rule)
    if found is None:
        return Decision(False, None, "no cause for a round")
    cause, why = found
    if now.running:
        return Decision(False, cause, f"waits until the running round has ended: {why}")
    left_ms = now.since_ms + rule.min_pause_ms - now.now_ms
    if now.started_before and left_ms > 0:
        return Decision(False, cause, f"waits {left_ms / 60_000:.0f} minutes more for the pause between two rounds: {why}")
    return Decision(True, cause, why)


def due(cron: str, since_ms: int, now_ms: int) -> bool:
    """Whether the schedule (UTC) names a time after ``since_ms`` that is not after ``now_ms``."""
    following: float = croniter(cron, since_ms / 1000.0).get_next(float)
    return following * 1000.0 <= now_ms


def _cause(now: Situation, rule: TriggerRule) -> tuple[Cause, str] | None:
    """The first cause that applies, the most deliberate first."""
    if now.request is not None:
        return "request", f"requested: {now.request}"
    if rule.cron is not None and due(rule.cron, now.since_ms, now.now_ms):
        return "schedule", f"the schedule {rule.cron} is due"
    if rule.min_pairs and now.new_pairs >= rule.min_pairs:
        return "pairs", f"{now.new_pairs} new pairs, {rule.min_pairs} are enough"
    drift = _drift(now, rule)
    return None if drift is None else ("drift", drift)


def _drift(now: Situation, rule: TriggerRule) -> str | None:
    if min(sum(now.reference_scores), sum(now.recent_scores)) >= rule.min_window:
        index = population_stability(now.reference_scores, now.recent_scores)
        if index >= rule.psi:
            return f"scores have drifted: population stability index {index:.2f}, {rule.psi:.2f} is much"
    before, lately = now.reference_shown, now.recent_shown
    if min(before.items, lately.items) >= rule.min_window:
        old, new = before.ignored / before.items, lately.ignored / lately.items
        # Three standard errors: small windows must not start a training by chance.
        chance = 3 * sqrt(old * (1 - old) / before.items + new * (1 - new) / lately.items)
        if new - old >= max(rule.ignored_rise, chance):
            return f"the ignored share rose from {old:.1%} to {new:.1%}"
    return None
