"""Flags of clean events: what ingest changed, and what the stages behind it must know of that."""

from __future__ import annotations

UNPROFILED = "unprofiled"
"""The flag of an event of nobody that asks for a list all the same: its shopper allows no personalization."""
PRICE_WIDENED, PLACE_WIDENED, TIME_WIDENED = "price_widened", "place_widened", "time_widened"
"""Flags of an event of which less is told than is known, since few shoppers share it."""
WIDE_BANDS = 8
"""Price bands that become one where PRICE_WIDENED leaves a price: a factor of 4."""
SOON = "soon"
"""The flag of an event whose time is widened: the shopper's last one that caused a list is not long enough ago for another one."""
RARE_QUERY = "rare_query"
"""The flag of a search that few shoppers made: nothing is learnt from its words."""
