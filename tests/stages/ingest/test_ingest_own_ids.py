"""An event's own ids stand nowhere else in what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest.own_ids import names_own, own_words, without_own
from tests.support.ingest_harness import make_stage, record, run

IDS = st.text("abcXYZ0123456789.-_äß中", min_size=4, max_size=20).filter(lambda text: text.strip(".-_") == text and not text.isdecimal())


@given(IDS, st.text(" ,:;()", max_size=3), st.text(" ,:;()", max_size=3))
def test_no_id_is_left_in_a_query(own: str, before: str, after: str) -> None:
    query, found = without_own(f"where is {before} {own.upper()} {after} please", own_words(own))
    assert found and own.casefold() not in query.casefold()


@given(IDS, st.sampled_from(["{}", "order-{}", "{}/1", "({})"]))
def test_an_item_that_is_an_id_is_seen(own: str, form: str) -> None:
    assert names_own(form.format(own), own_words(own))


@pytest.mark.parametrize(
    ("item", "own"),
    [("15036", "15036"), ("A-annabel-1", "anna"), ("red", "red"), ("SKU-12345678", "12345678"), ("shoes", "")],
)
def test_what_only_looks_alike_stays(item: str, own: str | None) -> None:
    assert not names_own(item, own_words(own))
    assert without_own(f"{item}s", own_words(own)) == (f"{item}s", False)


def test_ingest_refuses_items_and_cleans_queries() -> None:
    sent = [
        {"user_id": "anna.schmidt.1984", "event_type": "view", "item_id": "Anna.Schmidt.1984"},
        {"user_id": "u1", "event_type": "view", "item_id": "cart s-9f3c1", "session_id": "s-9f3c1"},
        {"user_id": "+491712345678", "event_type": "view", "item_id": "491712345678"},
        {"user_id": "anna.schmidt.1984", "event_type": "search", "query": "orders of ANNA.SCHMIDT.1984 s-9f3c1", "session_id": "s-9f3c1"},
        {"user_id": "15036", "event_type": "view", "item_id": "15036"},
        {"user_id": "u1", "event_type": "view", "item_id": "for 77ab-41", "anonymous_id": "77ab-41"},
        {"user_id": "guest", "event_type": "view", "item_id": "for 77ab-41", "anonymous_id": "77ab-41"},
    ]
    done = run(make_stage(), [record(value, offset=offset) for offset, value in enumerate(sent)])
    assert [letter["reason"] for letter in done.letters] == ["bad_item"] * 5
    search, view = done.events
    assert search["query"] == "orders of <id> <id>" and search["flags"] == ["query_scrubbed", "time_filled"]
    assert view["item_id"] == "15036"
    assert names_own("anna.schmidt", own_words("shop-a:anna.schmidt"))
