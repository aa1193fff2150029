"""Numeric rules and rewards of the feedback stage."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.settings import Settings

OUTCOMES = ("purchase", "cart", "click", "dismiss", "shown", "ignored")
"""Outcomes of a recommended item, strongest first. The strongest counts: an item that was clicked and then bought counts as bought."""

REWARDS = {"purchase": 1.0, "cart": 0.5, "click": 0.2, "dismiss": -0.5, "shown": 0.0, "ignored": 0.0}

OUTCOME_OF_EVENT = {
    **{"purchase": "purchase", "cart": "cart", "click": "click", "view": "click", "dismiss": "dismiss", "impression": "shown"},
    "wishlist": "click",  # more than a look and less than a cart; an outcome of its own would be one that older readers do not know
}
"""Event type to outcome. A front end may send a view or a click when a shopper opens an item; both count as a click."""

POSITIVE = frozenset({"purchase", "cart", "click"})

ORGANIC = POSITIVE | {"wishlist"}
"""Types of events that are examples by themselves, without a recommendation."""

HISTORY_EVENTS = frozenset({"view", "click", "cart", "purchase", "return", "search", "wishlist"})


@dataclass(frozen=True, slots=True)
class FeedbackRules:
    """Times are milliseconds of event time, except ``idle_ms``, which is real time."""

    window_ms: int
    """Time after a recommendation in which a reaction counts for it."""
    lateness_ms: int
    """Maximum disorder of event times. A window is closed this much after its end."""
    idle_ms: int
    """Real time without events after which a partition's windows are closed by the wall clock. After the same time without recommendations,
    a partition no longer waits for them."""
    history_size: int
    """Maximum number of history entries in a training pair."""
    settle_every_ms: int
    is_together: bool = False
    """True: one record of ``feedback`` holds the outcomes of all items of a recommendation. False: of one item."""
    interactions_kept: int = 1000
    """Maximum number of unsettled interactions per shopper. With more, the oldest are dropped."""
    max_age_ms: float = inf
    """Age, by event time, from which what is kept of a shopper is removed."""

    @classmethod
    def from_settings(cls, settings: Settings) -> FeedbackRules:
        return cls(
            window_ms=round(settings.attribution_window_s * 1000),
            # An event whose time was widened seems to come that much later than it did.
            lateness_ms=1000 * (2 * settings.time_bucket_s + (settings.k_time_s if settings.k > 1 else 0)),
            idle_ms=round(settings.idle_close_s * 1000),
            history_size=settings.training_history_size,
            is_together=settings.feedback_records == "recommendation",
            max_age_ms=settings.shopper_max_age_days * 86_400_000 or inf,
            settle_every_ms=max(60_000, round(settings.attribution_window_s * 1000 / 8)),
        )
