"""JSON values of producer topics, held against the Avro schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from streams.errors import Reason, RecordError

_INT_RANGE = {"int": 2**31, "long": 2**63}


def conform(value: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The value's known fields, with defaults; unknown ones are left out. Raises RecordError that names the field."""
    result: dict[str, Any] = {}
    for field in fields:
        name = field["name"]
        if name in value:
            if not _fits(value[name], field["type"]):
                raise RecordError(Reason.UNDECODABLE, f"field {name} has a wrong type")
            result[name] = value[name]
        elif "default" in field:
            default = field["default"]
            result[name] = list(default) if isinstance(default, list) else dict(default) if isinstance(default, dict) else default
        else:
            raise RecordError(Reason.UNDECODABLE, f"field {name} is missing")
    return result


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return any(_fits(value, option) for option in kind)
    if isinstance(kind, dict):
        return _fits_complex(value, kind)
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str)
    if kind in _INT_RANGE:
        return isinstance(value, int) and not isinstance(value, bool) and -_INT_RANGE[kind] <= value < _INT_RANGE[kind]
    if kind in ("double", "float"):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return False


def _fits_complex(value: Any, kind: Mapping[str, Any]) -> bool:
    if kind["type"] == "array":
        return isinstance(value, list) and all(_fits(element, kind["items"]) for element in value)
    if kind["type"] == "map":
        return isinstance(value, dict) and all(isinstance(k, str) and _fits(v, kind["values"]) for k, v in value.items())
    return _fits(value, kind["type"])
