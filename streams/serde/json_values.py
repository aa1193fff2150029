"""Checks values that did not come from Avro against a schema: JSON of producers, edits of operators."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streams.errors import Reason, RecordError

Test = Callable[[Any], bool]

_INT_BOUND = {"int": 2**31, "long": 2**63}
_PLAIN = {"null": frozenset({type(None)}), "boolean": frozenset({bool}), "string": frozenset({str}), "bytes": frozenset({bytes})}
_MISSING = object()


class JsonFields:
    """The fields of a record schema, made ready for reading JSON objects. Raises TypeError for a schema that JSON can't carry."""

    def __init__(self, fields: Sequence[Mapping[str, Any]], repairs: Mapping[str, Callable[[Any], Any]] | None = None) -> None:
        """``repairs`` read, by field, what does not fit its type; they raise RecordError where it can't be read either."""
        known = repairs or {}
        self._fields = [
            (field["name"], accepts(field["type"]), field.get("default", _MISSING), known.get(field["name"])) for field in fields
        ]

    def conform(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The value's known fields, with defaults; unknown ones are left out. Raises RecordError that names the field."""
        result: dict[str, Any] = {}
        for name, fits, default, repair in self._fields:
            found = value.get(name, _MISSING)
            if found is _MISSING:
                if default is _MISSING:
                    raise RecordError(Reason.UNDECODABLE, f"field {name} is missing")
                found = copy.copy(default)
            elif not fits(found):
                if repair is None:
                    raise RecordError(Reason.UNDECODABLE, f"field {name} has a wrong type")
                found = repair(found)
            result[name] = found
        return result


def accepts(kind: Any) -> Test:
    """A test of whether a value fits an Avro type. Numbers are taken as they stand: 2 fits a double, 2.0 no long; NaN fits nothing."""
    if isinstance(kind, list):
        return _any_of(kind)
    if isinstance(kind, dict):
        if kind["type"] == "array":
            return _all_elements(accepts(kind["items"]))
        if kind["type"] == "map":
            return _all_values(accepts(kind["values"]))
        return accepts(kind["type"])
    if kind in _PLAIN:
        types = _PLAIN[kind]
        return lambda value: type(value) in types
    if kind in _INT_BOUND:
        bound = _INT_BOUND[kind]
        return lambda value: type(value) is int and -bound <= value < bound
    if kind in ("double", "float"):
        # An int beyond every double would raise later, in arithmetic; orjson never gives one.
        return lambda value: (type(value) is float and math.isfinite(value)) or (type(value) is int and -(2**63) <= value < 2**64)
    raise TypeError(f"no JSON for Avro type {kind}")


def _any_of(kinds: Sequence[Any]) -> Test:
    plain = frozenset[type]().union(*(_PLAIN[kind] for kind in kinds if isinstance(kind, str) and kind in _PLAIN))
    others = [accepts(kind) for kind in kinds if not (isinstance(kind, str) and kind in _PLAIN)]
    if not others:
        return lambda value: type(value) in plain
    return lambda value: type(value) in plain or any(fits(value) for fits in others)


def _all_elements(fits: Test) -> Test:
    return lambda value: isinstance(value, list) and all(fits(element) for element in value)


def _all_values(fits: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(type(name) is str and fits(element) for name, element in value.items())
