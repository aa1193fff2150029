"""Currencies and price bands."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.stages import money as module
from streams.stages.money import FREE_BAND, MAX_PRICE, currencies, currency, price_band


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_codes_are_codes() -> None:
    assert len(currencies()) > 150
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in currencies())


@pytest.mark.parametrize(
    ("value", "code"), [("gbp", "GBP"), (" Cny ", "CNY"), ("RMB", "CNY"), ("¥", "CNY"), ("€", "EUR"), ("", "SEK"), (None, "SEK")]
)
def test_currencies(value: str | None, code: str) -> None:
    assert currency(value, "SEK") == code


@pytest.mark.parametrize("value", ["XXX", "EU", "EURO", "anna", "\x00", "E" * 100_000, "ＥＵＲ"])
def test_no_currencies(value: str) -> None:
    with pytest.raises(RecordError) as raised:
        currency(value, "SEK")
    assert raised.value.reason is Reason.BAD_CURRENCY
    assert value not in raised.value.detail.split()


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, -0.01, -1e-300, MAX_PRICE * 1.01, 1e308])
def test_no_prices(price: float) -> None:
    with pytest.raises(RecordError) as raised:
        price_band(price)
    assert raised.value.reason is Reason.BAD_PRICE


def test_free() -> None:
    assert price_band(0.0) == price_band(-0.0) == price_band(0) == FREE_BAND


@given(st.floats(1e-4, MAX_PRICE))
def test_a_band_holds_prices_within_a_fifth(price: float) -> None:
    band = price_band(price)
    if band > FREE_BAND + 1:
        assert 2 ** (band / 4) <= price * (1 + 1e-12)
        assert price < 2 ** ((band + 1) / 4) * (1 + 1e-12)


@given(st.floats(0, MAX_PRICE), st.floats(0, MAX_PRICE))
def test_dearer_is_never_lower(one: float, two: float) -> None:
    if one <= two:
        assert price_band(one) <= price_band(two)


@given(st.floats(min_value=0, max_value=1e-3, exclude_min=True))
def test_next_to_nothing_is_not_free(price: float) -> None:
    assert price_band(price) > FREE_BAND
