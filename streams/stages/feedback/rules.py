"""The numbers and rewards of feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.settings import Settings

OUTCOMES = ("purchase", "cart", "click", "dismiss", "shown", "ignored")
"""Strongest first: an item that was clicked and then bought was bought."""

REWARDS = {"purchase": 1.0, "cart": 0.5, "click": 0.2, "dismiss": -0.5, "shown": 0.0, "ignored": 0.0}

OUTCOME_OF_EVENT = {"purchase": "purchase", "cart": "cart", "click": "click", "view": "click", "dismiss": "dismiss", "impression": "shown"}
"""Opening an item's page is a click on it, whichever of the two a front end sends."""

POSITIVE = frozenset({"purchase", "cart", "click"})

HISTORY_EVENTS = frozenset({"view", "click", "cart", "purchase", "return", "search"})


@dataclass(frozen=True, slots=True)
class FeedbackRules:
    """Times in milliseconds of event time, but ``idle_ms``, which is real time."""

    window_ms: int
    lateness_ms: int
    """How far event times may be out of order: a window closes this much after its end."""
    idle_ms: int
    """A partition without events closes by the wall clock after this; one without recommendations no longer waits for them."""
    history_size: int
    settle_every_ms: int
    is_together: bool = False
    """One record of ``feedback`` tells the outcomes of all items of a recommendation."""
    interactions_kept: int = 1000
    """Most unsettled interactions of one shopper; the oldest beyond are forgotten."""

    @classmethod
    def from_settings(cls, settings: Settings) -> FeedbackRules:
        return cls(
            window_ms=round(settings.attribution_window_s * 1000),
            lateness_ms=2 * settings.time_bucket_s * 1000,
            idle_ms=round(settings.idle_close_s * 1000),
            history_size=settings.training_history_size,
            is_together=settings.feedback_records == "recommendation",
            settle_every_ms=max(60_000, round(settings.attribution_window_s * 1000 / 8)),
        )
