"""A session-only id stands for a shopper until she logs in. It never leads to a user, and a user never to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from streams.backtest.history import EventsBefore
from streams.errors import ConfigurationError, Reason, RecordError
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import ANONYMOUS, Pseudonymizer
from streams.privacy.seal import IdSealer
from streams.sources.mapping import read_mapping
from streams.stages.identifiers import shopper, user_id
from streams.stages.ingest.identities import Identities
from tests.support.ingest_harness import HASHES, feed
from tests.support.stage_keys import SIGNING_KEY, opened_id

PRIVATE = PrivateKey.generate()
ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Cn", "Co", "Z"]), min_size=1, max_size=40)


def event(**fields: Any) -> dict[str, Any]:
    return {"event_type": "view", "item_id": "1"} | fields


def test_until_she_logs_in_and_after_she_has_logged_out() -> None:
    """Three shoppers: the browser before and after, and the user in between."""
    steps = [{"anonymous_id": "b-1"}, {"anonymous_id": "b-1", "user_id": "anna"}, {"anonymous_id": "b-1"}, {"user_id": "anna"}]
    found = [feed(event(**step)) for step in steps]
    before, during, after, known = (outcome.events[0] for outcome in found)
    assert before["pseudonym"] == after["pseudonym"] != during["pseudonym"] == known["pseudonym"]
    assert [outcome.users[0] for outcome in found] == ["anonymous:b-1", "anna", "anonymous:b-1", "anna"]


@pytest.mark.parametrize("user", [None, "", "  ", "null", "guest", "0", "00000000-0000-0000-0000-000000000000"])
def test_a_placeholder_beside_an_anonymous_id_is_no_user(user: str | None) -> None:
    assert feed(event(anonymous_id="b-1", user_id=user)).users == ["anonymous:b-1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing_user"),
        ({"anonymous_id": " "}, "missing_user"),
        ({"anonymous_id": "null"}, "nobody"),
        ({"anonymous_id": "0", "user_id": "guest"}, "nobody"),
        ({"anonymous_id": "a\x00b"}, "bad_user"),
        ({"anonymous_id": "x" * 300}, "bad_user"),
        ({"anonymous_id": 1.5}, "undecodable"),
        ({"user_id": "anonymous:b-1"}, "bad_user"),
        ({"anonymous_id": "b-1", "user_id": "anonymous:b-1"}, "bad_user"),
    ],
)
def test_ids_that_are_none(fields: dict[str, Any], reason: str) -> None:
    found = feed(event(**fields))
    assert [letter["reason"] for letter in found.letters] == [reason]
    for letter in found.letters:
        assert "b-1" not in json.dumps(letter["detail"])


@given(ids, ids)
def test_no_anonymous_id_has_the_pseudonym_of_a_user(user: str, anonymous: str) -> None:
    try:
        names = {user_id(user), user_id(anonymous)}
        name = shopper("", anonymous)
    except RecordError:
        return
    assert name not in names and HASHES.pseudonym(name) not in {HASHES.pseudonym(one) for one in names}
    assert HASHES.event_id(name, "e") not in {HASHES.event_id(one, "e") for one in names}


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "null", "u1", "u2", " u1 "]), st.none() | st.sampled_from(["", "a1", "a2", "u1", "null"])),
        max_size=20,
    )
)
def test_remembered_identities_are_those_of_a_fresh_memory(pairs: list[tuple[str, str | None]]) -> None:
    hashes, sealer = Pseudonymizer(PseudonymKey("k1", b"k" * 32)), IdSealer(PRIVATE.public_key, SIGNING_KEY)
    known = Identities(hashes, sealer, kept=2)

    def of(memory: Identities, user: str, anonymous: str | None) -> Any:
        try:
            found = memory.of(user, anonymous)
        except RecordError as error:
            return error.reason
        return found.user_id, found.pseudonym, opened_id(PRIVATE, found._asdict())

    for user, anonymous in pairs:
        assert of(known, user, anonymous) == of(Identities(hashes, sealer), user, anonymous)


def test_an_id_written_as_a_whole_number() -> None:
    assert feed(event(anonymous_id=12345)).users == ["anonymous:12345"]


def test_a_mapping_with_a_namespace_and_placeholders() -> None:
    text = "source: s\nnamespace: web\nplaceholders: {user: [kasse]}\nfields: {type: {value: view}, user: u, anonymous: a, item: i}\n"
    assert feed({"a": "7", "i": "1"}, mapping=text).users == ["anonymous:web:7"]
    assert feed({"a": "7", "u": "kasse", "i": "1"}, mapping=text).users == ["anonymous:web:7"]
    assert feed({"a": "7", "u": "8", "i": "1"}, mapping=text).users == ["web:8"]
    assert [letter["reason"] for letter in feed({"a": "Kasse", "i": "1"}, mapping=text).letters] == ["missing_user"]
    alone = "source: s\nwithout_user: nobody\nfields: {type: {value: view}, anonymous: a, item: i}\n"
    assert feed({"a": "7", "i": "1"}, mapping=alone).users == ["anonymous:7"]
    assert [letter["reason"] for letter in feed({"i": "1"}, mapping=alone).letters] == [Reason.NOBODY]
    with pytest.raises(ConfigurationError, match="user must be said"):
        read_mapping("source: s\nfields: {type: t, item: i}\n", "f")


def test_the_backtest_knows_them_by_their_name() -> None:
    before = EventsBefore(
        [
            {"user_id": "", "anonymous_id": "b-1", "occurred_at": 1, "item_id": "x"},
            {"user_id": "b-1", "anonymous_id": None, "occurred_at": 2, "item_id": "y"},
        ],
        10**12,
    )
    assert before.seen == {f"{ANONYMOUS}b-1": {"x"}, "b-1": {"y"}}
    log_in = {"event_type": "identify", "user_id": "anna", "anonymous_id": "b-1", "occurred_at": 3, "item_id": None}
    for consent, seen in ((True, {"x"}), (False, set())):
        found = EventsBefore([*before.events, log_in | {"consent": consent}], 10**12)
        assert found.seen["anna"] == seen and found.seen[f"{ANONYMOUS}b-1"] == {"x"}
