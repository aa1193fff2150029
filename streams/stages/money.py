"""Prices and currencies; a price is kept as a band only."""

from __future__ import annotations

import math

from streams.errors import Reason, RecordError

FREE_BAND = -40
MAX_PRICE = 1e9

# ISO 4217: the active codes, and those given up lately, which histories still hold.
CURRENCIES = frozenset((
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF", "BMD", "BND", "BOB",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK",
    "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HRK",
    "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN",
    "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD",
    "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SLL", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB",
    "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VED", "VES", "VND", "VUV", "WST", "XAF",
    "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG", "ZWL",
))  # fmt: skip
_ALIASES = {"RMB": "CNY", "CNH": "CNY", "￥": "CNY", "¥": "CNY", "元": "CNY", "人民币": "CNY", "€": "EUR", "$": "USD", "£": "GBP"}


def currency(value: str | None, default: str) -> str:
    """The ISO 4217 code; ``default`` where there is none or a blank. Raises RecordError for anything else.

    >>> currency(" gbp ", "EUR"), currency("", "EUR")
    ('GBP', 'EUR')
    """
    if value is None:
        return default
    if value in CURRENCIES:
        return value
    code = value.strip().upper()
    code = _ALIASES.get(code, code)
    if code in CURRENCIES:
        return code
    if not code:
        return default
    raise RecordError(Reason.BAD_CURRENCY, "currency is no ISO 4217 code")


def price_band(price: float) -> int:
    """floor(4 · log2(price)): bands of a factor 1.19; 0 is band -40. Raises RecordError for negative, infinite or absurd prices.

    >>> price_band(1.0), price_band(2.0), price_band(-0.0)
    (0, 4, -40)
    """
    if not 0 <= price <= MAX_PRICE:  # also refuses NaN
        raise RecordError(Reason.BAD_PRICE, f"price must be between 0 and {MAX_PRICE:.0f}")
    return FREE_BAND if price == 0 else max(FREE_BAND + 1, math.floor(4 * math.log2(price)))
