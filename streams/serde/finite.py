"""Finds numbers that are none (NaN, infinities) in decoded values: one of them would spread through every sum it enters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Finite = Callable[[Any], bool]


def finite_test(kind: Any) -> Finite | None:
    """A test that all floating-point numbers of a value of this Avro type are finite; None where it can hold none."""
    if isinstance(kind, list):
        tests = [test for test in map(finite_test, kind) if test is not None]
        return (lambda value: all(test(value) for test in tests)) if tests else None
    if isinstance(kind, dict):
        return _of_complex(kind)
    return _is_finite if kind in ("double", "float") else None


def _is_finite(value: Any) -> bool:
    return type(value) is not float or math.isfinite(value)


def _of_complex(kind: dict[str, Any]) -> Finite | None:
    if kind["type"] == "record":
        fields = [(field["name"], test) for field in kind["fields"] if (test := finite_test(field["type"])) is not None]
        return (lambda value: not isinstance(value, dict) or all(test(value[name]) for name, test in fields)) if fields else None
    if kind["type"] == "array":
        element = finite_test(kind["items"])
        return (lambda value: not isinstance(value, list) or all(map(element, value))) if element else None
    if kind["type"] == "map":
        values = finite_test(kind["values"])
        return (lambda value: not isinstance(value, dict) or all(map(values, value.values()))) if values else None
    return finite_test(kind["type"]) if kind["type"] not in ("enum", "fixed") else None
