"""Weights of the event types, and the numeric rules of profiles and recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING

from streams.ranking.slate.rules import SlateRules
from streams.ranking.together import TogetherRules

if TYPE_CHECKING:
    from streams.settings import Settings

EVENT_TYPES = ("view", "click", "search", "cart", "purchase", "return", "impression", "dismiss", "wishlist")
"""The index of a type is its code in stored profiles. Append new types; never reorder."""
CODES: Mapping[str, int] = MappingProxyType({name: code for code, name in enumerate(EVENT_TYPES)})
VIEW, CLICK, SEARCH, CART, PURCHASE, RETURN, IMPRESSION, DISMISS, WISHLIST = range(9)
HISTORY_WEIGHTS: tuple[float, ...] = (0.2, 0.3, 0.5, 0.6, 1.0, -0.3, 0.0, -0.5, 0.5)
"""By event code: weight of an event in the shopper's vector, relative to a purchase (1). Impressions have weight 0."""
POPULARITY_WEIGHTS: tuple[float, ...] = (0.05, 0.1, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0, 0.2)
"""By event code: what an event adds to the popularity of its item, relative to a purchase (1). Impressions must not count: otherwise a
recommendation would make its items popular."""
TRIGGERS = frozenset({VIEW, CLICK, SEARCH, CART, PURCHASE, WISHLIST})
"""Events after which a recommendation may be made."""

SECOND_MS = 1000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRules:
    """Times are milliseconds of event time. A field that a setting decides has no default here."""

    # history
    half_life_ms: float
    history_size: int
    queries_max: int = 10
    """Maximum number of queries in a history. Each query must be encoded again after a worker starts."""
    history_weights: tuple[float, ...] = HISTORY_WEIGHTS
    repeat_share: float = 0.25
    """Share of the weaker of two interactions with the same item that is added to the stronger one."""
    weight_cap: float = 2.0
    event_ids_size: int = 256
    bought_size: int = 512
    recommended_size: int = 16
    """Number of recent recommendations that the cooldown covers."""
    made_size: int = 4

    # popularity
    popularity_half_life_ms: float
    popularity_weights: tuple[float, ...] = POPULARITY_WEIGHTS
    popularity_weight: float
    popularity_events_a_day: int
    """Events of a shopper and day that count at most."""
    popularity_breadth: int
    """Items from which on a shopper counts in full."""
    unknown_items: int
    """Counted in a partition beyond the size of the catalogue."""

    # bought together
    together: TogetherRules
    together_weight: float

    # search
    match_weight: float

    # the list
    slate: SlateRules = field(default_factory=SlateRules)

    # recommending
    recommend: bool = True
    """False: profiles and popularity are updated, but nothing is recommended. A backtest uses this while it learns."""
    threshold: float
    top_k: int
    reasons_max: int
    search_blend: float
    debounce_ms: int
    rewind_ms: int = 3600 * SECOND_MS
    """An event this much earlier than the last trigger counts as the start of a replay."""
    recommended_cooldown_ms: int
    bought_cooldown_ms: int
    logged_share: float
    """Of the events, whose features are logged."""
    max_age_ms: float = inf
    """Age, by event time, from which a profile is removed."""

    def concerns(self, event_type: int) -> bool:
        """Whether events of this type are relevant: they change a history or what is counted of an item, or trigger a recommendation."""
        counted = event_type == IMPRESSION and self.slate.counts_outcomes
        return bool(self.history_weights[event_type] or self.popularity_weights[event_type] or event_type in TRIGGERS or counted)

    @classmethod
    def from_settings(cls, settings: Settings) -> ProfileRules:
        """The rules from the settings."""
        return cls(
            half_life_ms=settings.half_life_days * DAY_MS,
            history_size=settings.history_size,
            popularity_half_life_ms=settings.popularity_half_life_days * DAY_MS,
            popularity_weight=settings.popularity_weight,
            popularity_events_a_day=settings.popularity_events_a_day,
            popularity_breadth=settings.popularity_breadth,
            unknown_items=settings.unknown_items,
            together=TogetherRules.from_settings(settings),
            together_weight=settings.together_weight,
            match_weight=settings.match_weight,
            slate=SlateRules.from_settings(settings),
            threshold=settings.threshold,
            top_k=settings.top_k,
            reasons_max=settings.reasons_max,
            search_blend=settings.search_blend,
            debounce_ms=round(settings.debounce_s * SECOND_MS),
            recommended_cooldown_ms=round(settings.recommended_cooldown_s * SECOND_MS),
            bought_cooldown_ms=round(settings.bought_cooldown_days * DAY_MS),
            logged_share=settings.feature_log_share,
            max_age_ms=settings.shopper_max_age_days * DAY_MS or inf,
        )
