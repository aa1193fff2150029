"""Checks the schema that a value was written with. A registry may hold any schema, so it is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastavro.schema import SchemaParseException, UnknownType, parse_schema

from streams.errors import Reason, RecordError

MAX_NODES = 1000
"""Types in a schema, every use of a named one counted: what reading one value costs at least."""


def parse_writer(text: str, name: str) -> Any:
    """The schema, prepared for decoding. Raises RecordError (WRONG_SCHEMA) if it is not a schema of record ``name``, or if a few bytes
    written with it could keep a reader busy without end.
    """
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("type") != "record" or full_name(raw) != name:
            raise RecordError(Reason.WRONG_SCHEMA, "the value was written with another topic's schema")
        parsed: Any = parse_schema(without_logical_types(raw))
        _Weigher().least_bytes(parsed)
    except (SchemaParseException, UnknownType, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(Reason.WRONG_SCHEMA, f"the schema it was written with can't be used ({type(error).__name__})") from None
    return parsed


def full_name(schema: Mapping[str, Any]) -> str:
    """Namespace and name of a record schema."""
    name = str(schema.get("name", ""))
    return name if "." in name or not schema.get("namespace") else f"{schema['namespace']}.{name}"


def without_logical_types(node: Any) -> Any:
    """The schema as plain types, so that times are decoded as the integers they are."""
    if isinstance(node, dict):
        plain = {key: without_logical_types(value) for key, value in node.items() if key not in ("logicalType", "doc")}
        return plain["type"] if set(plain) == {"type"} and isinstance(plain["type"], str) else plain
    return [without_logical_types(value) for value in node] if isinstance(node, list) else node


class _Weigher:
    """Refuses schemas that would harm the decoder: schemas that contain themselves (the decoder recurses in C), arrays of values that
    take no bytes (their declared length alone sets the work), and records that expand to very many values.
    """

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[str] = set()
        self._nodes = 0

    def least_bytes(self, kind: Any) -> int:
        """How many bytes a value takes at least."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ValueError("too large")
        if isinstance(kind, list):
            return 1 + min((self.least_bytes(option) for option in kind), default=0)
        if isinstance(kind, str):
            return self.least_bytes(self._named[kind]) if kind in self._named else {"null": 0, "float": 4, "double": 8}.get(kind, 1)
        return self._of_complex(kind)

    def _of_complex(self, kind: Mapping[str, Any]) -> int:
        what = kind["type"]
        if what in ("record", "error"):
            return self._of_record(kind)
        if what == "array":
            if self.least_bytes(kind["items"]) == 0:
                raise ValueError("an array whose elements take no bytes")
            return 1
        if what == "map":
            self.least_bytes(kind["values"])
            return 1
        if what in ("fixed", "enum"):
            self._named[kind["name"]] = kind
            return int(kind["size"]) if what == "fixed" else 1
        return self.least_bytes(what)

    def _of_record(self, kind: Mapping[str, Any]) -> int:
        name = kind["name"]
        if name in self._open:
            raise ValueError("it contains itself")
        self._named[name] = kind
        self._open.add(name)
        total = sum(self.least_bytes(field["type"]) for field in kind["fields"])
        self._open.discard(name)
        return total
