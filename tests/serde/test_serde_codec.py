"""Framing, decoding and what becomes of bytes that are no record."""

from __future__ import annotations

import contextlib
import io
import json
import math
import tracemalloc
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from streams.errors import Reason, RecordError
from streams.serde import Codec, local_codecs
from streams.serde.local_registry import LocalRegistry, local_id
from streams.topics import (
    BEHAVIOUR_CLEAN,
    BEHAVIOUR_RAW,
    BY_NAME,
    CATALOGUE_ITEMS,
    ITEMS_POPULARITY,
    PRIVACY_AUDIT,
    RECOMMENDATIONS,
)

RAW = {
    "user_id": "u-1",
    "event_type": "purchase",
    "event_id": "e-1",
    "occurred_at": "2011-10-10T10:10:00",
    "item_id": "84029E",
    "query": None,
    "quantity": 2.0,
    "price": 3.39,
    "currency": "GBP",
    "recommendation_id": None,
    "position": 3,
    "session_id": "s",
    "region": "United Kingdom",
    "user_agent": None,
    "anonymous_id": None,
    "consent": None,
}
PART = {"kind": "item", "item_id": "i", "event_type": "view", "share": 0.25}
RECOMMENDATION = {
    "recommendation_id": "r",
    "pseudonym": "k1.p",
    "sealed_id": b"\x01",
    "policy": "search",
    "trigger_event_id": "e",
    "trigger_type": "search",
    "source_offset": 7,
    "created_at": 1_700_000_000_000,
    "model_version": "m",
    "threshold": 0.3,
    "items": [{"item_id": "i", "rank": 0, "score": 0.5, "cosine": 0.4, "prior": 0.1, "reasons": [PART]}],
}
POPULARITY = {"item_id": "i", "count": 1.0, "as_of": 0, "source_offset": 0}
CODECS = local_codecs()


def reason_of(codec: Codec, value: bytes | None, headers: Any = ()) -> Reason:
    with pytest.raises(RecordError) as caught:
        codec.decode(value, headers)
    return caught.value.reason


def number(value: int) -> bytes:
    """A zig-zag varint."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class OneWriter:
    """A registry whose id 2 is one writer's schema, and id 1 the current one."""

    def __init__(self, writer: dict[str, Any] | str) -> None:
        self._writer = writer if isinstance(writer, str) else json.dumps(writer)

    def id_for(self, topic: str) -> int:
        return 1

    def schema(self, schema_id: int) -> str | None:
        return self._writer if schema_id == 2 else None


def avro_value(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an Avro type."""
    if isinstance(kind, list):
        return st.one_of(*map(avro_value, kind))
    if isinstance(kind, dict):
        if kind["type"] == "record":
            return st.fixed_dictionaries({field["name"]: avro_value(field["type"]) for field in kind["fields"]})
        if kind["type"] == "array":
            return st.lists(avro_value(kind["items"]), max_size=4)
        if kind["type"] == "map":
            return st.dictionaries(st.text(max_size=8), avro_value(kind["values"]), max_size=4)
        return avro_value(kind["type"])
    plain: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "string": st.text(max_size=12),
        "bytes": st.binary(max_size=12),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "double": st.floats(allow_nan=False, allow_infinity=False),
    }
    return plain[kind]


@pytest.mark.parametrize("topic", sorted(BY_NAME))
def test_what_is_encoded_is_decoded(topic: str) -> None:
    codec = CODECS.for_topic(topic)

    @settings(max_examples=25, deadline=None)
    @given(avro_value(json.loads(schemas.current(topic))))
    def round_trip(value: dict[str, Any]) -> None:
        assert codec.decode(codec.encode(value)) == value

    round_trip()


def test_framing_is_confluents() -> None:
    value = CODECS.for_topic(BEHAVIOUR_RAW).encode(RAW)
    assert value[0] == 0
    assert int.from_bytes(value[1:5], "big") == local_id(schemas.current(BEHAVIOUR_RAW))
    schema = fastavro.parse_schema(json.loads(schemas.current(BEHAVIOUR_RAW)))
    assert fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None) == RAW


def test_times_are_milliseconds() -> None:
    codec = CODECS.for_topic(RECOMMENDATIONS)
    assert codec.decode(codec.encode(RECOMMENDATION))["created_at"] == 1_700_000_000_000


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b"\x00", Reason.BAD_FRAMING),
        (b"\x00\x00\x00\x00", Reason.BAD_FRAMING),
        (b"\x01" + bytes(20), Reason.BAD_FRAMING),
        (b'{"user_id": "u"}', Reason.BAD_FRAMING),
        (b"\x00\xff\xff\xff\xffabc", Reason.UNKNOWN_SCHEMA),
        (CODECS.for_topic(ITEMS_POPULARITY).encode(POPULARITY), Reason.WRONG_SCHEMA),
        (CODECS.for_topic(BEHAVIOUR_RAW).encode(RAW)[:-1], Reason.UNDECODABLE),
        (CODECS.for_topic(BEHAVIOUR_RAW).encode(RAW)[:5], Reason.UNDECODABLE),
        (CODECS.for_topic(BEHAVIOUR_RAW).encode(RAW) + b"\x00", Reason.UNDECODABLE),
    ],
)
def test_each_defect_has_its_reason(value: bytes | None, reason: Reason) -> None:
    codec = CODECS.for_topic(BEHAVIOUR_RAW)
    for _ in range(2):  # what is remembered of a bad id must answer the same
        assert reason_of(codec, value) is reason


def test_values_over_the_bound_are_not_looked_at() -> None:
    codec = local_codecs(max_bytes=1000).for_topic(BEHAVIOUR_RAW)
    assert reason_of(codec, codec.encode({**RAW, "query": "x" * 1000})) is Reason.TOO_LARGE
    assert reason_of(codec, b"{" * 1001, [("content-type", b"application/json")]) is Reason.TOO_LARGE


@settings(max_examples=250, deadline=5000)
@given(st.data())
@pytest.mark.slow
def test_damaged_values_are_refused_or_read_but_never_crash(data: st.DataObject) -> None:
    topic = data.draw(st.sampled_from([BEHAVIOUR_RAW, RECOMMENDATIONS, PRIVACY_AUDIT, CATALOGUE_ITEMS]))
    codec = CODECS.for_topic(topic)
    good = bytearray(codec.encode(data.draw(avro_value(json.loads(schemas.current(topic))))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "number"])):
            case "flip":
                good[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del good[at : at + data.draw(st.integers(1, 8))]
            case "insert":
                good[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case _:
                good[at:at] = number(data.draw(st.sampled_from([2**62, -(2**62), 2**31, -1, -(2**63)])))
        if not good:
            break
    headers = data.draw(st.sampled_from([(), (("content-type", b"application/json"),), (("content-type", None),)]))
    with contextlib.suppress(RecordError):
        assert isinstance(codec.decode(bytes(good), headers), dict)


@settings(max_examples=200, deadline=5000)
@given(st.sampled_from(sorted(BY_NAME)), st.binary(max_size=300))
def test_random_bodies_are_refused_or_read_but_never_crash(topic: str, body: bytes) -> None:
    codec = CODECS.for_topic(topic)
    frame = b"\x00" + local_id(schemas.current(topic)).to_bytes(4, "big")
    try:
        assert isinstance(codec.decode(frame + body), dict)
    except RecordError as error:
        assert error.reason is Reason.UNDECODABLE


@pytest.mark.timeout(30)  # in vain it would take hours
@pytest.mark.parametrize("count", [2**62, -(2**62), -(2**63), 2**31, -1])
def test_declared_lengths_cost_neither_time_nor_memory(count: int) -> None:
    clean = CODECS.for_topic(BEHAVIOUR_CLEAN)
    frame = b"\x00" + local_id(schemas.current(BEHAVIOUR_CLEAN)).to_bytes(4, "big")
    tracemalloc.start()
    try:
        # a string of that length, bytes of that length, and flags of that many elements
        assert reason_of(clean, frame + number(count)) is Reason.UNDECODABLE
        assert reason_of(clean, frame + number(0) * 2 + number(count)) is Reason.UNDECODABLE
        upto_flags = b"".join([number(0) * 4, number(0), number(0) * 2, number(2), number(0) * 6])
        assert reason_of(clean, frame + upto_flags + number(count) + b"\x02x" * 20) is Reason.UNDECODABLE
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_products_own_numbers_are_finite(bad: float) -> None:
    popularity = CODECS.for_topic(ITEMS_POPULARITY)
    assert reason_of(popularity, popularity.encode({**POPULARITY, "count": bad})) is Reason.UNDECODABLE
    nested = json.loads(json.dumps({**RECOMMENDATION, "sealed_id": ""})) | {"sealed_id": b""}
    nested["items"][0]["reasons"][0]["share"] = bad
    codec = CODECS.for_topic(RECOMMENDATIONS)
    assert reason_of(codec, codec.encode(nested)) is Reason.UNDECODABLE


def test_producers_numbers_are_left_to_the_rules_that_name_the_field() -> None:
    codec = CODECS.for_topic(BEHAVIOUR_RAW)
    assert math.isnan(codec.decode(codec.encode({**RAW, "price": math.nan}))["price"])


def test_values_of_an_earlier_version_are_read_with_defaults() -> None:
    earlier = json.loads(schemas.current(BEHAVIOUR_RAW))
    earlier["fields"] = [f for f in earlier["fields"] if f["name"] not in ("user_agent", "position")]
    body = io.BytesIO()
    fastavro.schemaless_writer(
        body, fastavro.parse_schema(dict(earlier)), {k: v for k, v in RAW.items() if k in {f["name"] for f in earlier["fields"]}}
    )
    decoded = Codec(BEHAVIOUR_RAW, OneWriter(earlier)).decode(b"\x00\x00\x00\x00\x02" + body.getvalue())
    assert decoded == {**RAW, "user_agent": None, "position": None}


def test_fields_of_a_later_version_are_left_out() -> None:
    later = json.loads(schemas.current(BEHAVIOUR_RAW))
    later["fields"].append({"name": "extra", "type": {"type": "array", "items": "string"}, "default": []})
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(dict(later)), {**RAW, "extra": ["a", "b"]})
    assert Codec(BEHAVIOUR_RAW, OneWriter(later)).decode(b"\x00\x00\x00\x00\x02" + body.getvalue()) == RAW


def hostile(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schemas.current(BEHAVIOUR_RAW))
    schema["fields"].append({"name": "extra", "type": kind})
    return schema


def doubling(depth: int) -> Any:
    """A record of two records of two records ...: few words, 2^depth values, no bytes."""
    kind: Any = "null"
    for level in range(depth):
        again = "null" if kind == "null" else kind["name"]
        kind = {"type": "record", "name": f"L{level}", "fields": [{"name": "a", "type": kind}, {"name": "b", "type": again}]}
    return kind


@pytest.mark.timeout(30)  # one that is not refused has a thousand million values
@pytest.mark.parametrize(
    "writer",
    [
        hostile({"type": "array", "items": "null"}),
        hostile({"type": "array", "items": {"type": "record", "name": "Nothing", "fields": []}}),
        hostile({"type": "array", "items": {"type": "fixed", "name": "None0", "size": 0}}),
        hostile(["null", {"type": "record", "name": "Self", "fields": [{"name": "next", "type": ["null", "Self"]}]}]),
        hostile({"type": "array", "items": "io.veilstream.behaviour.BehaviourEvent"}),
        hostile(doubling(30)),
        hostile("no.such.Type"),
        {"type": "array", "items": "string"},
        {"type": "record"},
        json.loads(schemas.current(CATALOGUE_ITEMS)),
        "[" * 100_000,
        '"string"',
        "not json",
        '{"type": "record", "name": "io.veilstream.behaviour.BehaviourEvent", "fields": 3}',
        '{"type": "record", "name": "io.veilstream.behaviour.BehaviourEvent", "fields": [{"name": "a"}]}',
    ],
)
def test_writer_schemas_that_are_foreign_or_hostile_are_refused(writer: dict[str, Any] | str) -> None:
    codec = Codec(BEHAVIOUR_RAW, OneWriter(writer))
    for _ in range(2):
        assert reason_of(codec, b"\x00\x00\x00\x00\x02" + bytes(50) + number(2**40) * 5) is Reason.WRONG_SCHEMA


@pytest.mark.parametrize("change", [{"user_id": None}, {"user_id": "\ud800"}, {"position": 2**40}, {"quantity": "x"}, {"position": True}])
def test_what_does_not_fit_is_not_encoded(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        CODECS.for_topic(BEHAVIOUR_RAW).encode({**RAW, **change})


@settings(max_examples=100)
@given(st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=12, max_size=30))
def test_errors_hold_nothing_of_the_value(secret: str) -> None:
    codec = CODECS.for_topic(BEHAVIOUR_RAW)
    value = codec.encode({**RAW, "user_id": secret})
    as_json = (("content-type", b"application/json"),)
    for bad, headers in [
        (value[:-3], ()),
        (value + b"x", ()),
        (b"\x07" + value, ()),
        (json.dumps({"user_id": [secret], "event_type": "view"}).encode(), as_json),
        (json.dumps({secret: secret}).encode(), as_json),
        (f'{{"user_id": "{secret}'.encode(), as_json),
    ]:
        with pytest.raises(RecordError) as caught:
            codec.decode(bad, headers)
        assert secret not in str(caught.value)
        assert caught.value.__cause__ is None


def test_ids_agree_between_processes_and_differ_between_topics() -> None:
    first, second = LocalRegistry(), LocalRegistry()
    ids = {topic: first.id_for(topic) for topic in BY_NAME}
    assert ids == {topic: second.id_for(topic) for topic in BY_NAME}
    assert len(set(ids.values())) == len(ids)
    assert all(0 < schema_id < 2**31 for schema_id in ids.values())
    for topic in BY_NAME:
        for text in schemas.released(topic):
            assert first.schema(local_id(text)) is not None


def test_mending_a_doc_changes_no_id() -> None:
    schema = json.loads(schemas.current(BEHAVIOUR_RAW))
    schema["fields"][0]["doc"] = "other words"
    assert local_id(json.dumps(schema)) == local_id(schemas.current(BEHAVIOUR_RAW))
    schema["fields"][0]["type"] = "bytes"
    assert local_id(json.dumps(schema)) != local_id(schemas.current(BEHAVIOUR_RAW))


def test_an_unknown_topic_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        CODECS.for_topic("no.such")
