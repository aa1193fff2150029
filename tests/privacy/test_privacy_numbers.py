"""Rows of digit groups: which of them are numbers of people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.numbers import replace_numbers


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("138 0013 8000", "<phone>"),
        ("1-3-8-0-0-1-3-8-0-0-0", "<phone>"),
        ("13 80 01 38 00 0", "<phone>"),
        ("1 3 8 0 0 1 3 8 0 0 0 5", "<phone> 5"),
        ("5 1 3 8 0 0 1 3 8 0 0 0", "5 <phone>"),
        ("0049 171 2345678", "<phone>"),
        ("+86-10-6552-9988", "<phone>"),
        ("size 42 +49 171 2345678", "size 42 <phone>"),
        ("01 23 45 67 89", "<phone>"),
        ("400-812-3123", "<phone>"),
        ("1-800-555-0199", "<phone>"),
        ("98765 43210", "<phone>"),
        ("wx13800138000abc", "wx<phone>abc"),
        ("0171 2345678call", "<phone>call"),
        ("tel-0171-2345678", "tel-<phone>"),
        ("3782 822463 10005", "<card>"),
        ("4111-1111-1111-1111 12/27", "<card> 12/27"),
        ("110105 19491231 002x", "<id>"),
        ("2 11010519491231002X 3", "2 <id> 3"),
        ("13800138000，13900139000", "<phone>，<phone>"),
        # what looks like one and is none
        ("13800138000123", "13800138000123"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("110105194912310021", "110105194912310021"),
        ("0000123456", "0000123456"),
        ("512 256 1024 128", "512 256 1024 128"),
        ("2023-10-12 2024-10-12", "2023-10-12 2024-10-12"),
        ("20231012143000", "20231012143000"),
        ("01.02.2023 42", "01.02.2023 42"),
        ("AB0171234567", "AB0171234567"),
        ("0.1712345678", "0.1712345678"),
        ("036000291452", "036000291452"),
    ],
)
def test_numbers(text: str, wanted: str) -> None:
    assert replace_numbers(text) == wanted


@given(st.text("0123456789 -.()/+_xX<>a", max_size=80))
def test_only_digits_and_what_stands_between_them_can_go(text: str) -> None:
    replaced = replace_numbers(text)
    kept = replaced
    for mark in ("<phone>", "<card>", "<id>"):
        kept = kept.replace(mark, "")
    assert kept.count("a") == text.count("a")
    assert len(kept) <= len(text)
    assert replaced == text or any(mark in replaced for mark in ("<phone>", "<card>", "<id>"))


@given(st.text("0123456789 -.", max_size=40))
def test_fewer_than_eight_digits_are_nobodys(text: str) -> None:
    if sum(character.isdigit() for character in text) < 8:
        assert replace_numbers(text) == text
