"""Ids, types and queries in one form, and what is refused."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.stages import identifiers
from streams.stages.identifiers import EVENT_TYPES, MAX_ITEM, MAX_QUERY, MAX_USER

INVISIBLE = [
    "\x00",
    "\x1b",
    "\x7f",
    "\x85",
    "\u00ad",
    "\u200b",
    "\u200d",
    "\u200f",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ud800",
    "\uffff",
    "\U000e0041",
]


def reason_of(function: object, value: object) -> Reason:
    with pytest.raises(RecordError) as raised:
        function(value)  # type: ignore[operator]
    text = str(value)
    assert len(text) < 8 or text[:8] not in raised.value.detail
    return raised.value.reason


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_event_types_in_any_case(kind: str) -> None:
    for spelling in (kind, kind.upper(), f" {kind.title()}\t"):
        assert identifiers.event_type(spelling) == kind


@pytest.mark.parametrize("kind", ["", " ", "views", "add to cart", "ＶＩＥＷ", "view\x00", "v" * 100_000])
def test_unknown_event_types(kind: str) -> None:
    assert reason_of(identifiers.event_type, kind) is Reason.UNKNOWN_EVENT_TYPE


def test_ids_are_trimmed_and_composed() -> None:
    assert identifiers.user_id("  anna\t") == "anna"
    assert identifiers.user_id("\u3000zo\u0065\u0308 ") == "zo\u00eb"
    assert identifiers.item_id(" 84029E ") == "84029E"
    assert identifiers.item_id("商品-1") == "商品-1"


@pytest.mark.parametrize("character", INVISIBLE)
def test_invisible_characters_are_refused(character: str) -> None:
    assert reason_of(identifiers.user_id, f"an{character}na") is Reason.BAD_USER
    assert reason_of(identifiers.item_id, f"84{character}29") is Reason.BAD_ITEM


@pytest.mark.parametrize("value", ["", "   ", "\t\n", "\u3000\u2003"])
def test_blank_ids(value: str) -> None:
    assert reason_of(identifiers.user_id, value) is Reason.MISSING_USER
    assert reason_of(identifiers.item_id, value) is Reason.MISSING_ITEM


def test_no_item() -> None:
    assert reason_of(identifiers.item_id, None) is Reason.MISSING_ITEM


def test_lengths_are_counted_after_composition() -> None:
    assert len(identifiers.user_id("u" * MAX_USER)) == MAX_USER
    assert len(identifiers.user_id("e\u0301" * MAX_USER)) == MAX_USER
    assert len(identifiers.item_id(" " + "i" * MAX_ITEM + " ")) == MAX_ITEM
    assert reason_of(identifiers.user_id, "u" * (MAX_USER + 1)) is Reason.BAD_USER
    assert reason_of(identifiers.user_id, "\u00fc" * 10_000_000) is Reason.BAD_USER
    assert reason_of(identifiers.item_id, "i" * (MAX_ITEM + 1)) is Reason.BAD_ITEM


@pytest.mark.parametrize("item", ["anna@example.com", "a@b", "anna＠example.com"])
def test_an_item_that_could_be_a_person(item: str) -> None:
    assert reason_of(identifiers.item_id, item) is Reason.BAD_ITEM


@given(st.text(max_size=300))
def test_user_ids_are_stable_or_refused(value: str) -> None:
    try:
        user = identifiers.user_id(value)
    except RecordError as error:
        assert error.reason in (Reason.MISSING_USER, Reason.BAD_USER, Reason.NOBODY)
    else:
        assert user == identifiers.user_id(user)
        assert unicodedata.is_normalized("NFC", user)
        assert "\x00" not in user
        user.encode()


@pytest.mark.parametrize(
    ("raw", "clean", "scrubbed"),
    [
        ("  red   shoes\n", "red shoes", False),
        ("cafe\u0301", "caf\u00e9", False),
        ("nike\u200bair", "nike air", False),
        ("ni\u00adke", "nike", False),
        ("\u202eshoes", "shoes", False),
        ("羽绒服\u3000男", "羽绒服 男", False),
        ("shoes\x00anna@example.com", "shoes <email>", True),
        ("138\x000013\u200b8000", "<phone>", True),
        ("138\ud8000013\ud8008000", "<phone>", True),
        ("iphone 15 128gb", "iphone 15 128gb", False),
    ],
)
def test_queries(raw: str, clean: str, scrubbed: bool) -> None:
    assert identifiers.query(raw) == (clean, scrubbed)


def test_queries_that_ask_nothing() -> None:
    for value in (None, "", "  \u3000"):
        assert reason_of(identifiers.query, value) is Reason.MISSING_QUERY
    for value in ("\u200b\u200b", "\x00", "\u202e \ufeff"):
        assert reason_of(identifiers.query, value) is Reason.BAD_QUERY


def test_long_queries_are_cut_between_letters() -> None:
    assert identifiers.query("x" * 10_000_000)[0] == "x" * MAX_QUERY
    marked = "q" * (MAX_QUERY - 1) + "q\u0323\u0302\u0301" + "tail"
    assert identifiers.query(marked)[0] == "q" * (MAX_QUERY - 1)


@pytest.mark.parametrize("personal", ["anna.smith.of.somewhere@example.com", "+49 171 2345678", "13800138000", "4111 1111 1111 1111"])
def test_a_cut_leaves_no_half_of_anything_personal(personal: str) -> None:
    """Scrubbing shortens a text, so that what lay at the cut can move to where it shows."""
    address = "x" * 50 + "@" + "y" * 100 + ".example "
    for inside in range(1, len(personal)):
        start = 4 * MAX_QUERY - inside
        before = address * (start // len(address))
        text, scrubbed = identifiers.query(f"{before}{'-' * (start - len(before) - 1)} {personal}{' end' * 100}")
        assert text.startswith("<email>")
        assert scrubbed
        assert len(text) <= MAX_QUERY
        assert personal[:inside] not in text or inside < 3


def test_what_stands_before_a_crowd_of_addresses_is_kept() -> None:
    assert identifiers.query("red shoes " + "anna.smith@example.com " * 100)[0].startswith("red shoes <email>")


def test_white_space_does_not_count_before_a_cut() -> None:
    assert identifiers.query("red" + " " * 100_000 + "shoes") == ("red shoes", False)


@given(st.text(max_size=400))
def test_queries_are_stable_or_refused(value: str) -> None:
    try:
        text, _ = identifiers.query(value)
    except RecordError as error:
        assert error.reason in (Reason.MISSING_QUERY, Reason.BAD_QUERY)
    else:
        assert 0 < len(text) <= MAX_QUERY
        assert text.isprintable() or not any(character in text for character in INVISIBLE)
        assert text == text.strip()
        text.encode()


def test_opaque_ids_keep_all_their_characters() -> None:
    assert identifiers.opaque_id(None) is None
    assert identifiers.opaque_id("  ") is None
    assert identifiers.opaque_id(" e-1 ") == "e-1"
    long = "e" * 1000
    assert identifiers.opaque_id(long + "1") != identifiers.opaque_id(long + "2")
    assert identifiers.opaque_id("\ud800x") == "?x"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        ("0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef"),
        ("anna@example.com", None),
        ("0123456789abcdef0123456789abcdef\n", None),
        ("0" * 31, None),
        ("０" * 32, None),
        ("", None),
        (None, None),
    ],
)
def test_recommendation_ids(value: str | None, wanted: str | None) -> None:
    assert identifiers.recommendation_id(value) == wanted


def test_a_long_run_of_marks_costs_no_more_than_its_beginning() -> None:
    """Normalising 130,000 combining marks takes the interpreter tens of seconds; what is looked at is bounded."""
    kept, _ = identifiers.query("red shoes a" + "\u0316\u0301" * 130_000)
    assert kept == "red shoes"


def test_full_width_letters_are_letters() -> None:
    assert identifiers.query("ＩＰＨＯＮＥ　１５ 手机壳") == ("IPHONE 15 手机壳", False)
