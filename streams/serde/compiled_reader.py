"""The lines of a function that reads one schema's values from Avro, and passes over the fields that nobody wants."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any

from streams.serde.function_source import FunctionSource

FIXED_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class MalformedError(ValueError):
    """The bytes are no value of the schema."""


class NotFiniteError(ValueError):
    """A number in the value is not finite."""


def read_value(source: FunctionSource, schema: Any, wanted: Mapping[str, Any] | None, finite: bool) -> str:
    """Adds lines that read a value; the expression that holds it."""
    if isinstance(schema, list):
        own = source.name()
        source.add("n = data[pos]", "pos += 1")
        for index, branch in enumerate(schema):
            with source.block(f"elif n == {2 * index}:" if index else "if not n:"):
                source.add(f"{own} = {read_value(source, branch, wanted, finite)}")
        with source.block("else:"):
            source.add("raise Malformed('no such branch of a union')")
        return own
    if isinstance(schema, str):
        return _read_primitive(source, schema, finite)
    if schema["type"] == "record":
        return _read_record(source, schema, wanted, finite)
    if schema["type"] == "array":
        own = source.name()
        source.add(f"{own} = []")
        with _blocks_of(source):
            source.add(f"{own}.append({read_value(source, schema['items'], wanted, finite)})")
        return own
    return read_value(source, schema["type"], wanted, finite)


def _read_record(source: FunctionSource, schema: Mapping[str, Any], wanted: Mapping[str, Any] | None, finite: bool) -> str:
    names = [field["name"] for field in schema["fields"]]
    unknown = [] if wanted is None else [name for name in wanted if name not in names]
    if unknown:
        raise KeyError(f"{schema['name']} has no field {unknown[0]}")
    found = []
    for field in schema["fields"]:
        if wanted is None or field["name"] in wanted:
            value = read_value(source, field["type"], (wanted or {}).get(field["name"]) or None, finite)
            found.append(f"{field['name']!r}: {value}")
        else:
            _skip(source, field["type"])
    own = source.name()
    source.add(f"{own} = {{{', '.join(found)}}}")
    return own


def _read_primitive(source: FunctionSource, kind: str, finite: bool) -> str:
    if kind == "null":
        return "None"
    own = source.name()
    if kind == "boolean":
        source.add(f"{own} = data[pos] != 0", "pos += 1")
    elif kind in ("float", "double"):
        source.add(f"{own} = unpack_{kind}(data, pos)[0]", f"pos += {FIXED_BYTES[kind]}")
        if finite:
            with source.block(f"if {own} - {own} != 0.0:"):
                source.add("raise NotFinite('a number in it is not finite')")
    elif kind in ("int", "long"):
        _varint(source)
        source.add(f"{own} = (n >> 1) ^ -(n & 1)")
    else:
        _length(source)
        source.add(f"{own} = data[pos:n]" + (".decode()" if kind == "string" else ""), "pos = n")
    return own


def _skip(source: FunctionSource, schema: Any) -> None:
    """Adds lines that pass over a value."""
    if isinstance(schema, list):
        source.add("n = data[pos]", "pos += 1")
        for index, branch in enumerate(schema):
            with source.block(f"elif n == {2 * index}:" if index else "if not n:"):
                source.add("pass")
                _skip(source, branch)
        with source.block("else:"):
            source.add("raise Malformed('no such branch of a union')")
    elif isinstance(schema, str):
        if schema in FIXED_BYTES:
            source.add(f"pos += {FIXED_BYTES[schema]}")
        elif schema in ("int", "long"):
            _varint(source)
        else:
            _length(source)
            source.add("pos = n")
    elif schema["type"] == "record":
        for field in schema["fields"]:
            _skip(source, field["type"])
    elif schema["type"] == "array":
        with _blocks_of(source):
            _skip(source, schema["items"])
    else:
        _skip(source, schema["type"])


def _varint(source: FunctionSource) -> None:
    source.add("n = data[pos]", "pos += 1")
    with source.block("if n > 127:"):
        source.add("n, pos = varint(data, n, pos)")


def _length(source: FunctionSource) -> None:
    """``n`` becomes the position after a string's last byte."""
    _varint(source)
    with source.block("if n & 1:"):
        source.add("raise Malformed('a negative length')")
    source.add("n = pos + (n >> 1)")


class _blocks_of:
    """Adds the loops over an array's blocks around what is added in it. A block can't hold more elements than bytes are left."""

    def __init__(self, source: FunctionSource) -> None:
        self._source = source
        self._left = source.name()

    def __enter__(self) -> None:
        source = self._source
        source.add("while True:")
        source.__enter__()
        _varint(source)
        with source.block("if n == 0:"):
            source.add("break")
        source.add(f"{self._left} = (n >> 1) ^ -(n & 1)")
        with source.block(f"if {self._left} < 0:"):
            source.add(f"{self._left} = -{self._left}")
            _varint(source)
        with source.block(f"if {self._left} > len(data) - pos:"):
            source.add("raise Malformed('more elements than bytes')")
        source.add(f"for _ in range({self._left}):")
        source.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._source.__exit__()
        self._source.__exit__()


def _decode_varint(data: bytes, first: int, pos: int) -> tuple[int, int]:
    """The rest of a number whose first byte has its continuation bit set."""
    number, shift = first & 0x7F, 7
    while shift < 64:
        byte = data[pos]
        pos += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= 1 << 64:
                break
            return number, pos
        shift += 7
    raise MalformedError("a number of more than 64 bits")


HELPERS: Mapping[str, Any] = {
    "unpack_float": Struct("<f").unpack_from,
    "unpack_double": Struct("<d").unpack_from,
    "varint": _decode_varint,
    "Malformed": MalformedError,
    "NotFinite": NotFiniteError,
}
"""What the lines refer to."""
