"""Prices and currencies. Only the band of a price is kept."""

from __future__ import annotations

import math
from datetime import date
from functools import cache

from babel.core import get_global
from babel.numbers import get_territory_currencies

from streams.errors import Reason, RecordError

FREE_BAND = -40
MAX_PRICE = 1e9

_SINCE = date(2015, 1, 1)
_BESIDE_TENDER = {"CLF", "SVC", "VED"}
"""Units in use that the CLDR does not list as legal tender: Chile's unit of account, El Salvador's colón, Venezuela's digital bolívar."""
_ALIASES = {"RMB": "CNY", "CNH": "CNY", "￥": "CNY", "¥": "CNY", "元": "CNY", "人民币": "CNY", "€": "EUR", "$": "USD", "£": "GBP"}


@cache
def currencies() -> frozenset[str]:
    """ISO 4217 codes of currencies that were legal tender anywhere since 2015. This includes currencies that were replaced recently
    but are still in histories. Source: the Unicode CLDR, through Babel.
    """
    places = get_global("territory_currencies")
    found = (get_territory_currencies(place, start_date=_SINCE, end_date=date.max) for place in places)
    return frozenset(_BESIDE_TENDER.union(*found))


def currency(value: str | None, default: str) -> str:
    """The ISO 4217 code; ``default`` where there is none or a blank. Raises RecordError for anything else.

    >>> currency(" gbp ", "EUR"), currency("", "EUR")
    ('GBP', 'EUR')
    """
    if value is None:
        return default
    if value in currencies():
        return value
    code = value.strip().upper()
    code = _ALIASES.get(code, code)
    if code in currencies():
        return code
    if not code:
        return default
    raise RecordError(Reason.BAD_CURRENCY, "currency is not an ISO 4217 code")


def price_band(price: float) -> int:
    """floor(4 · log2(price)): bands of a factor 1.19; 0 is band -40. Raises RecordError for negative, infinite or absurd prices.

    >>> price_band(1.0), price_band(2.0), price_band(-0.0)
    (0, 4, -40)
    """
    if not 0 <= price <= MAX_PRICE:  # also refuses NaN
        raise RecordError(Reason.BAD_PRICE, f"price must be between 0 and {MAX_PRICE:.0f}")
    return FREE_BAND if price == 0 else max(FREE_BAND + 1, math.floor(4 * math.log2(price)))
