"""The compiled functions against fastavro, which decides what is right."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import fastavro
import pytest
from fastavro.schema import parse_schema
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from streams import topics
from streams.errors import Reason, RecordError
from streams.serde.codec import local_codecs
from streams.serde.compiled import compile_reader, compile_writer
from streams.serde.compiled_reader import MalformedError, NotFiniteError
from streams.serde.writer_schema import without_logical_types

WRONG = (ValueError, TypeError, KeyError, AttributeError, IndexError, struct.error)
SCHEMAS = {spec.name: without_logical_types(json.loads(schemas.current(spec.name))) for spec in topics.TOPICS}
WRITABLE = {name: schema for name, schema in SCHEMAS.items() if compile_writer(schema) is not None}
READABLE = {name: schema for name, schema in SCHEMAS.items() if compile_reader(schema) is not None}


def values(schema: Any, numbers: st.SearchStrategy[float] | None = None) -> st.SearchStrategy[Any]:
    """Anything that fits the schema."""
    if isinstance(schema, list):
        return st.one_of(*(values(branch, numbers) for branch in schema))
    if isinstance(schema, str):
        return {
            "null": st.none(),
            "boolean": st.booleans(),
            "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.integers(-(2**63), 2**63 - 1),
            "float": st.floats(width=32),
            "double": st.floats() if numbers is None else numbers,
            "string": st.text(st.characters(codec="utf-8")),
            "bytes": st.binary(max_size=300),
        }[schema]
    if schema["type"] == "record":
        return st.fixed_dictionaries({field["name"]: values(field["type"], numbers) for field in schema["fields"]})
    if schema["type"] == "array":
        return st.lists(values(schema["items"], numbers), max_size=5)
    return values(schema["type"], numbers)


# Schemas are walked once for all examples: by fastavro, by what is tested, and by what draws values.
PARSED = {name: parse_schema(schema) for name, schema in SCHEMAS.items()}
WRITERS = {name: compile_writer(schema) for name, schema in WRITABLE.items()}
READERS = {name: compile_reader(schema) for name, schema in READABLE.items()}
ANY_VALUES = {name: values(schema) for name, schema in WRITABLE.items()}
VALUES = {name: values(schema, st.floats(allow_nan=False)) for name, schema in READABLE.items()}


def by_fastavro(name: str, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED[name], value)
    return out.getvalue()


def test_the_hot_path_is_compiled() -> None:
    hot = {topics.BEHAVIOUR_CLEAN, topics.RECOMMENDATIONS, topics.FEEDBACK, topics.TRAINING_PAIRS, topics.ITEMS_POPULARITY}
    assert hot <= set(WRITABLE)
    assert {*hot, topics.BEHAVIOUR_RAW, topics.ITEMS_VECTORS} <= set(READABLE)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_it_writes_the_same_bytes(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(WRITABLE)))
    value = data.draw(ANY_VALUES[name])
    write = WRITERS[name]
    assert write is not None
    assert write(value) == by_fastavro(name, value)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.binary(max_size=5))
def test_it_reads_the_same_value_wherever_it_begins(data: st.DataObject, before: bytes) -> None:
    name = data.draw(st.sampled_from(sorted(READABLE)))
    body = by_fastavro(name, data.draw(VALUES[name]))
    expected = fastavro.schemaless_reader(io.BytesIO(body), PARSED[name], None)
    read = READERS[name]
    assert read is not None
    assert read(before + body, len(before)) == (expected, len(before) + len(body))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_fields_that_nobody_wants_are_passed_over(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(READABLE)))
    fields = [field["name"] for field in READABLE[name]["fields"]]
    only = data.draw(st.sets(st.sampled_from(fields)))
    body = by_fastavro(name, data.draw(VALUES[name]))
    everything = READERS[name]
    some = compile_reader(READABLE[name], only=only)
    assert everything is not None and some is not None
    whole, end = everything(body, 0)
    assert some(body, 0) == ({key: value for key, value in whole.items() if key in only}, end)


def test_fields_of_records_in_an_array_can_be_chosen() -> None:
    codecs = local_codecs()
    item = {"item_id": "灯笼", "rank": 0, "score": 0.5, "cosine": 0.4, "prior": 0.1, "reasons": []}
    value = {
        "recommendation_id": "r",
        "pseudonym": "p",
        "sealed_id": b"s",
        "policy": "search",
        "trigger_event_id": "e",
        "trigger_type": "search",
        "source_offset": 7,
        "created_at": 8,
        "model_version": "m",
        "threshold": 0.3,
        "items": [item, {**item, "rank": 1}],
    }
    encoded = codecs.for_topic(topics.RECOMMENDATIONS).encode(value)
    reading = codecs.reading(topics.RECOMMENDATIONS, ("pseudonym", "items.item_id"))
    assert reading.decode(encoded) == {"pseudonym": "p", "items": [{"item_id": "灯笼"}] * 2}
    assert reading.encode(value) == encoded
    with pytest.raises(KeyError, match="nothing"):
        codecs.reading(topics.RECOMMENDATIONS, ("items.nothing",))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_that_are_no_value_end_in_an_error_or_beyond_the_end(data: st.DataObject) -> None:
    """And never in another value than fastavro's. fastavro takes some overlong numbers that this refuses."""
    name = data.draw(st.sampled_from(sorted(READABLE)))
    body = bytearray(by_fastavro(name, data.draw(VALUES[name])))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(body[: data.draw(st.integers(0, len(body)))]) if data.draw(st.booleans()) else bytes(body)
    read = READERS[name]
    assert read is not None
    try:
        value, end = read(broken, 0)
    except WRONG:
        return
    if end == len(broken):
        expected = fastavro.schemaless_reader(io.BytesIO(broken), PARSED[name], None)
        assert repr(value) == repr(expected)


SAMPLE = {
    "type": "record",
    "name": "Sample",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "number", "type": "int"},
        {"name": "amount", "type": ["null", "double"], "default": None},
        {"name": "parts", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}


@pytest.mark.parametrize(
    "value",
    [
        {"number": 1},
        {"text": None, "number": 1},
        {"text": b"bytes", "number": 1},
        {"text": "\ud800", "number": 1},
        {"text": "", "number": 2**31},
        {"text": "", "number": 1.5},
        {"text": "", "number": True},
        {"text": "", "number": 1, "amount": "1"},
        {"text": "", "number": 1, "parts": [1]},
        {"text": "", "number": 1, "parts": 5},
    ],
)
def test_what_does_not_fit_is_not_written(value: dict[str, Any]) -> None:
    write = compile_writer(SAMPLE)
    assert write is not None
    with pytest.raises(WRONG):
        write(value)


def test_defaults_are_filled_in() -> None:
    write, read = compile_writer(SAMPLE), compile_reader(SAMPLE)
    assert write is not None and read is not None
    assert read(write({"text": "t", "number": -1}), 0)[0] == {"text": "t", "number": -1, "amount": None, "parts": []}


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",  # a string of negative length
        b"\x02",  # cut off
        b"\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # 71 bits
        b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # more than 64 bits in ten bytes
        b"\x00\x02\x04",  # no such branch
        b"\x00\x02\x00\xfe\xff\xff\xff\x0f",  # two thousand million strings in no bytes
        b"\x02\xff\x02\x00\x00",  # no UTF-8
    ],
)
def test_malformed_bytes_are_refused(body: bytes) -> None:
    read = compile_reader(SAMPLE)
    assert read is not None
    with pytest.raises((MalformedError, IndexError, UnicodeDecodeError)):
        read(body, 0)


def test_blocks_with_a_size_and_several_blocks_are_read() -> None:
    read = compile_reader(SAMPLE)
    assert read is not None
    blocks = b"\x01\x04\x02a" + b"\x04\x02b\x02c" + b"\x00"  # -1 element in 2 bytes; 2 elements; the end
    assert read(b"\x00\x02\x00" + blocks, 0)[0]["parts"] == ["a", "b", "c"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_where_wanted(number: float) -> None:
    write, strict, lax = compile_writer(SAMPLE), compile_reader(SAMPLE, finite=True), compile_reader(SAMPLE)
    blind = compile_reader(SAMPLE, only=["text"], finite=True)
    assert write is not None and strict is not None and lax is not None and blind is not None
    body = write({"text": "", "number": 1, "amount": number})
    with pytest.raises(NotFiniteError):
        strict(body, 0)
    assert repr(lax(body, 0)[0]["amount"]) == repr(number)
    assert blind(body, 0) == ({"text": ""}, len(body))


def test_a_value_that_is_cut_off_is_a_record_error() -> None:
    codec = local_codecs().for_topic(topics.ITEMS_POPULARITY)
    value = codec.encode({"item_id": "a", "count": 1.0, "as_of": 1, "source_offset": 1})
    for end in range(5, len(value)):
        with pytest.raises(RecordError) as caught:
            codec.decode(value[:end])
        assert caught.value.reason is Reason.UNDECODABLE
    with pytest.raises(RecordError, match="left over"):
        codec.decode(value + b"\0")


@pytest.mark.parametrize("kind", [{"type": "map", "values": "string"}, {"type": "enum", "name": "E", "symbols": ["A"]}, "Other"])
def test_what_it_does_not_know_it_leaves_alone(kind: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}
    assert compile_writer(schema) is None
    assert compile_reader(schema) is None
