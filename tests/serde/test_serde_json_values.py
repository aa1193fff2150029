"""JSON from producers: only where the header says so, only on their topics, only what the schema allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.serde import local_codecs
from streams.serde.codec import PRODUCER_TOPICS
from streams.serde.json_values import accepts
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, CATALOGUE_ITEMS, CONSENT_UPDATES, PRIVACY_ERASURE

JSON = (("content-type", b"application/json"),)
CODECS = local_codecs()
EVENT = {"user_id": "u", "event_type": "view"}


def decode(value: Any, topic: str = BEHAVIOUR_RAW) -> dict[str, Any]:
    return CODECS.for_topic(topic).decode(value if isinstance(value, bytes) else json.dumps(value).encode(), JSON)


def test_defaults_are_filled_and_unknown_fields_left_out() -> None:
    decoded = decode({**EVENT, "position": 4, "unknown": {"a": [1]}})
    assert decoded["user_id"] == "u" and decoded["position"] == 4 and decoded["item_id"] is None
    assert set(decoded) == set(CODECS.for_topic(BEHAVIOUR_RAW).kinds)


@pytest.mark.parametrize(
    "header",
    [b"application/json", b"application/json; charset=utf-8", b"Application/JSON;charset=UTF-8", b" application/json ;x"],
)
@pytest.mark.parametrize("name", ["content-type", "Content-Type"])
def test_header_forms(header: bytes, name: str) -> None:
    assert CODECS.for_topic(BEHAVIOUR_RAW).decode(json.dumps(EVENT).encode(), [("other", b"x"), (name, header)])["user_id"] == "u"


@pytest.mark.parametrize(
    "headers", [(), [("content-type", b"text/plain")], [("content-type", b"application/jsonl")], [("content-type", None)]]
)
def test_without_the_header_it_is_no_json(headers: Any) -> None:
    with pytest.raises(RecordError) as caught:
        CODECS.for_topic(BEHAVIOUR_RAW).decode(json.dumps(EVENT).encode(), headers)
    assert caught.value.reason is Reason.BAD_FRAMING


@pytest.mark.parametrize("fields", [{}, {"user_id": None}, {"user_id": ""}])
def test_a_user_may_be_missing(fields: dict[str, Any]) -> None:
    """There may be an anonymous id instead; the rules of the ingest stage say what is missing."""
    decoded = decode({"event_type": "view", "anonymous_id": "a", **fields})
    assert (decoded["user_id"], decoded["anonymous_id"]) == ("", "a")


def test_only_producers_topics_take_it() -> None:
    assert {BEHAVIOUR_RAW, CATALOGUE_ITEMS, CONSENT_UPDATES, PRIVACY_ERASURE} == PRODUCER_TOPICS
    with pytest.raises(RecordError) as caught:
        decode({"event_id": "x"}, BEHAVIOUR_CLEAN)
    assert caught.value.reason is Reason.BAD_FRAMING


def test_each_producers_topic() -> None:
    assert decode({"item_id": "i", "title": "t", "tags": ["a"]}, CATALOGUE_ITEMS)["in_stock"] is True
    assert decode({"user_id": "u", "purposes": {"training": False}, "updated_at": 5}, CONSENT_UPDATES)["purposes"] == {"training": False}
    assert decode({"user_id": "u", "request_id": "r", "requested_at": 5}, PRIVACY_ERASURE)["scope"] == "all"


def test_defaults_are_not_shared_between_records() -> None:
    decode({"item_id": "i", "title": "t"}, CATALOGUE_ITEMS)["tags"].append("x")
    assert decode({"item_id": "i", "title": "t"}, CATALOGUE_ITEMS)["tags"] == []


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"user_id": "\\ud800", "event_type": "view"}',
        b'{"user_id": "u", "event_type": "view", "price": NaN}',
        b'{"user_id": "u", "event_type": "view", "price": 1e999}',
        b"[" * 200_000,
        b'{"a":' * 50_000,
        {"user_id": "u"},
        {"user_id": "u", "event_type": None},
        {**EVENT, "user_id": 5.0},
        {**EVENT, "user_id": ["u"]},
        {**EVENT, "user_id": {"id": "u"}},
        {**EVENT, "quantity": ["2"]},
        {**EVENT, "quantity": True},
        {**EVENT, "position": 2.0},
        {**EVENT, "position": 2**31},
        {**EVENT, "position": True},
        {**EVENT, "occurred_at": True},
        {**EVENT, "occurred_at": [1]},
    ],
)
def test_wrong_values_are_refused(value: Any) -> None:
    with pytest.raises(RecordError) as caught:
        decode(value)
    assert caught.value.reason is (Reason.EMPTY if value == b"" else Reason.UNDECODABLE)


@pytest.mark.parametrize("when", ["2024-01-01", 1_700_000_000, 1_700_000_000_000, 1.5, None])
def test_a_time_may_be_text_or_number(when: Any) -> None:
    assert decode({**EVENT, "occurred_at": when})["occurred_at"] == when


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
@pytest.mark.slow
def test_whatever_is_accepted_can_be_encoded(value: Any) -> None:
    codec = CODECS.for_topic(BEHAVIOUR_RAW)
    for name, kind in codec.kinds.items():
        if accepts(kind)(value):
            record = {**decode(EVENT), name: value}
            try:
                codec.encode(record)
            except UnicodeEncodeError:
                assert isinstance(value, str)


def test_types_that_json_lacks() -> None:
    with pytest.raises(TypeError):
        accepts("duration")
