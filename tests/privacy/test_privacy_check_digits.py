"""Check digits: known numbers pass, and any single wrong digit is noticed."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy import check_digits as module
from streams.privacy.check_digits import is_article_number, is_luhn, is_resident_id

# Test numbers that the card networks publish, one for each length.
CARDS = ("4222222222222", "30569309025904", "378282246310005", "5555555555554444", "6205500000000000004")
ARTICLES = ("0306406152", "9780306406157", "036000291452", "4006381333931")


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("card", CARDS)
def test_published_cards(card: str) -> None:
    assert is_luhn(card)


@pytest.mark.parametrize("number", ARTICLES)
def test_known_articles(number: str) -> None:
    assert is_article_number(number)


@given(st.sampled_from(CARDS + ARTICLES), st.data())
def test_a_wrong_digit_is_noticed(number: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    changed = number[:place] + wrong + number[place + 1 :]
    assert not (is_luhn if number in CARDS else is_article_number)(changed)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("11010519491231002X", True),
        ("11010519491231002x", True),
        ("440308199901010012", True),
        ("440308199901010013", False),
        ("11010519491331002X", False),  # month 13
        ("11010517491231002X", False),  # eighteenth century
        ("1101051949123100", False),
        ("1101051949123100AB", False),
        ("", False),
    ],
)
def test_resident_ids(text: str, valid: bool) -> None:
    assert is_resident_id(text) is valid
