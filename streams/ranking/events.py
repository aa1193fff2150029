"""What each kind of event means to a profile and to an item's popularity."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EVENT_TYPES = ("view", "click", "search", "cart", "purchase", "return", "impression", "dismiss")
"""A type's place is its code in stored profiles: append, never reorder."""

CODES: Mapping[str, int] = MappingProxyType({name: code for code, name in enumerate(EVENT_TYPES)})

VIEW, CLICK, SEARCH, CART, PURCHASE, RETURN, IMPRESSION, DISMISS = range(8)

HISTORY_WEIGHTS: tuple[float, ...] = (0.2, 0.3, 0.5, 0.6, 1.0, -0.3, 0.0, -0.5)
"""By code: what an event says of the shopper's taste, a purchase being 1. What was only shown says nothing."""

POPULARITY_WEIGHTS: tuple[float, ...] = (0.05, 0.1, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)
"""By code: what an event adds to its item's popularity, a purchase being 1. Impressions must not count: what is recommended
would become popular by being recommended."""

TRIGGERS = frozenset({VIEW, CLICK, SEARCH, CART, PURCHASE})
"""Events after which a recommendation may be made."""
