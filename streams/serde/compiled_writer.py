"""The lines of a function that writes one schema's values as Avro."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from streams.serde.function_source import FunctionSource


def write_value(source: FunctionSource, schema: Any, value: str, *, complete: bool = False) -> None:
    """Adds lines that ``put`` the value of an expression. ``complete``: fields that have defaults are there, too."""
    if isinstance(schema, list):
        null = schema.index("null")
        with source.block(f"if {value} is None:"):
            source.add(f"put({_long(null)!r})")
        with source.block("else:"):
            source.add(f"put({_long(1 - null)!r})")
            write_value(source, schema[1 - null], value, complete=complete)
    elif isinstance(schema, str):
        source.add(*(line.format(v=value) for line in _WRITES[schema]))
    elif schema["type"] == "record":
        for field in schema["fields"]:
            own = source.name()
            if "default" in field and not complete:
                source.add(f"{own} = {value}.get({field['name']!r}, {_default(field)!r})")
            else:
                source.add(f"{own} = {value}[{field['name']!r}]")
            write_value(source, field["type"], own, complete=complete)
    elif schema["type"] == "array":
        own = source.name()
        with source.block(f"if {value}:"):
            source.add(f"put(long(len({value})))")
            with source.block(f"for {own} in {value}:"):
                write_value(source, schema["items"], own, complete=complete)
        source.add("put(b'\\0')")
    else:
        write_value(source, schema["type"], value, complete=complete)


def _default(field: Any) -> Any:
    """JSON has no bytes: their default is written as the characters of the same numbers (Avro specification, Complex Types)."""
    default = field["default"]
    return default.encode("iso-8859-1") if field["type"] == "bytes" else default


_SIZED = ("n = len(b)", "put(short[n] if n < 8192 else long(n))", "put(b)")
_WRITES = {
    "null": (),
    "boolean": ("put(b'\\1' if {v} else b'\\0')",),
    "int": ("put(short[{v}] if {v}.__class__ is whole and 0 <= {v} < 8192 else int32({v}))",),
    "long": ("put(short[{v}] if {v}.__class__ is whole and 0 <= {v} < 8192 else long({v}))",),
    "float": ("put(pack_float({v}))",),
    "double": ("put(pack_double({v}))",),
    "string": ("b = {v}.encode()", *_SIZED),
    "bytes": ("b = {v}", *_SIZED),
}


def _long(number: Any) -> bytes:
    """Zigzag, then seven bits a byte, lowest first."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError("a whole number is needed")
    if not -(2**63) <= number < 2**63:
        raise ValueError("the number does not fit into 64 bits")
    code = (number << 1) ^ (number >> 63)
    out = bytearray()
    while code >= 0x80:
        out.append(code & 0x7F | 0x80)
        code >>= 7
    out.append(code)
    return bytes(out)


def _int32(number: Any) -> bytes:
    if isinstance(number, int) and not -(2**31) <= number < 2**31:
        raise ValueError("the number does not fit into 32 bits")
    return _long(number)


HELPERS: Mapping[str, Any] = {
    "short": tuple(_long(n) for n in range(8192)),
    "whole": int,
    # Times are rounded before they are written, so the same ones come again. Typed: 100.0 is no whole number where 100 was seen.
    "long": lru_cache(4096, typed=True)(_long),
    "int32": _int32,
    "pack_float": Struct("<f").pack,
    "pack_double": Struct("<d").pack,
}
"""What the lines refer to."""
