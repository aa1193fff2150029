"""The TypedDicts say what the Avro files say."""

from __future__ import annotations

import json
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

import schemas
from streams.serde import records
from streams.topics import BY_NAME

_PLAIN = {"null": NoneType, "boolean": bool, "int": int, "long": int, "double": float, "string": str, "bytes": bytes}
_DIFFERENT_NAMES = {"Reason": "ReasonPart"}


def shape_of_avro(kind: Any) -> Any:
    if isinstance(kind, list):
        return frozenset(shape_of_avro(option) for option in kind)
    if isinstance(kind, dict):
        if kind["type"] == "record":
            name = _DIFFERENT_NAMES.get(kind["name"], kind["name"])
            return (name, tuple(sorted((field["name"], shape_of_avro(field["type"])) for field in kind["fields"])))
        if kind["type"] == "array":
            return ("list", shape_of_avro(kind["items"]))
        if kind["type"] == "map":
            return ("dict", shape_of_avro(kind["values"]))
        return shape_of_avro(kind["type"])
    return _PLAIN[kind]


def shape_of_type(kind: Any) -> Any:
    if is_typeddict(kind):
        return (kind.__name__, tuple(sorted((name, shape_of_type(hint)) for name, hint in get_type_hints(kind).items())))
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return frozenset(shape_of_type(option) for option in get_args(kind))
    if origin is list:
        return ("list", shape_of_type(get_args(kind)[0]))
    if origin is dict:
        return ("dict", shape_of_type(get_args(kind)[1]))
    return kind


@pytest.mark.parametrize("topic", sorted(BY_NAME))
def test_typed_dict_and_schema_agree(topic: str) -> None:
    schema = json.loads(schemas.current(topic))
    assert shape_of_type(getattr(records, schema["name"])) == shape_of_avro(schema)
