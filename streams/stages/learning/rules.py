"""Numeric rules of the learning stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.stages.learning.trigger import TriggerRule

if TYPE_CHECKING:
    from streams.settings import Settings

HOUR_MS = 3_600_000
BUCKETS_PER_WINDOW = 4


@dataclass(frozen=True, slots=True)
class LearningRules:
    """Times are milliseconds."""

    trigger: TriggerRule
    window_ms: int
    """Event time over which drift is measured."""
    stale_ms: int
    """Real time after which a round that started and is silent counts as ended."""

    @property
    def bucket_ms(self) -> int:
        """Event time of one bucket of a tally."""
        return self.window_ms // BUCKETS_PER_WINDOW

    @classmethod
    def from_settings(cls, settings: Settings) -> LearningRules:
        """Raises ConfigurationError if the schedule is not a valid cron expression."""
        trigger = TriggerRule(
            min_pairs=settings.training_min_pairs,
            cron=settings.training_cron or None,
            min_pause_ms=round(settings.training_pause_h * HOUR_MS),
            psi=settings.training_drift_psi,
            ignored_rise=settings.training_drift_ignored,
            min_window=settings.training_drift_min,
        )
        return cls(trigger, round(settings.training_drift_window_h * HOUR_MS), round(settings.training_stale_h * HOUR_MS))
