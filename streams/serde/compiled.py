"""Avro values to bytes and back by functions that are made for one schema, as ``dataclasses`` makes methods for one class.

A general library walks the schema again for every value; here it is walked once, into straight-line Python. For the product's
records that writes three times and reads twice as fast as fastavro, and fields that nobody wants are passed over almost for
free (docs/decisions/0005). What is not known here (maps, enums; for writing, unions of more than null and one type) gives None,
and fastavro does the work. Wire format: Apache Avro specification 1.12, "Binary encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from struct import Struct
from typing import Any, cast

Writer = Callable[[Mapping[str, Any]], bytes]
Reader = Callable[[bytes, int], tuple[dict[str, Any], int]]

_FIXED_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_PRIMITIVES = frozenset({*_FIXED_BYTES, "int", "long", "string", "bytes"})


class MalformedError(ValueError):
    """The bytes are no value of the schema."""


class NotFiniteError(ValueError):
    """A number in the value is not finite."""


def compile_writer(schema: Mapping[str, Any]) -> Writer | None:
    """A function from a record's fields to its Avro body; None where the schema holds what this module does not know.

    The function raises ValueError or TypeError (or KeyError, AttributeError or struct.error) for what does not fit.
    """
    if not _is_known(schema, any_union=False):
        return None
    source = _Source("def write(value):", "out = []", "put = out.append")
    _write(source, schema, "value")
    source.add("return b''.join(out)")
    return cast(Writer, source.function("write"))


def compile_reader(schema: Mapping[str, Any], *, only: Collection[str] | None = None, finite: bool = False) -> Reader | None:
    """A function from bytes and a position in them to a record's fields and the position after it; None as above.

    ``only`` names the fields that are wanted (``items.item_id`` for a field of a record in an array or union), all if None; with
    ``finite`` a number among them that is not finite raises NotFiniteError. For bytes that are no such value the function raises
    MalformedError, UnicodeDecodeError, IndexError or struct.error, or returns a position after their end. Raises KeyError where
    ``only`` names no field.
    """
    if not _is_known(schema, any_union=True):
        return None
    wanted = None if only is None else _tree(only)
    source = _Source("def read(data, pos):")
    result = _read(source, schema, wanted, finite)
    source.add(f"return {result}, pos")
    return cast(Reader, source.function("read"))


class _Source:
    """Lines of a function, and names for what it refers to."""

    def __init__(self, head: str, *lines: str) -> None:
        self._lines = [head]
        self._depth = 1
        self._names = 0
        self._globals: dict[str, Any] = dict(_HELPERS)
        self.add(*lines)

    def add(self, *lines: str) -> None:
        self._lines += ["    " * self._depth + line for line in lines]

    def name(self, value: Any = None) -> str:
        """A new name; of the value, where one is given."""
        self._names += 1
        name = f"n{self._names}"
        if value is not None:
            self._globals[name] = value
        return name

    def block(self, head: str) -> _Source:
        """``with source.block("if x:")`` indents what is added in it."""
        self.add(head)
        return self

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1

    def function(self, name: str) -> Any:
        # Every line comes from this module; of a schema only field names go into it, as quoted literals.
        exec(compile("\n".join(self._lines), f"<avro {name}>", "exec"), self._globals)  # noqa: S102
        return self._globals[name]


def _is_known(schema: Any, *, any_union: bool) -> bool:
    if isinstance(schema, str):
        return schema in _PRIMITIVES
    if isinstance(schema, list):
        is_optional = len(schema) == 2 and schema.count("null") == 1
        return (is_optional or (any_union and len(schema) < 64)) and all(_is_known(branch, any_union=any_union) for branch in schema)
    kind = schema["type"]
    if kind == "record":
        return all(_is_known(field["type"], any_union=any_union) for field in schema["fields"])
    if kind == "array":
        return _is_known(schema["items"], any_union=any_union) and _least_bytes(schema["items"]) > 0
    return kind not in ("map", "enum", "fixed") and _is_known(kind, any_union=any_union)


def _least_bytes(schema: Any) -> int:
    if isinstance(schema, str):
        return _FIXED_BYTES.get(schema, 1)
    if isinstance(schema, dict) and schema["type"] == "record":
        return sum(_least_bytes(field["type"]) for field in schema["fields"])
    return 1 if isinstance(schema, list) or schema["type"] == "array" else _least_bytes(schema["type"])


def _tree(paths: Collection[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for part in path.split("."):
            node = node.setdefault(part, {})
    return tree


# --- writing


def _write(source: _Source, schema: Any, value: str) -> None:
    if isinstance(schema, list):
        null = schema.index("null")
        with source.block(f"if {value} is None:"):
            source.add(f"put({_long(null)!r})")
        with source.block("else:"):
            source.add(f"put({_long(1 - null)!r})")
            _write(source, schema[1 - null], value)
    elif isinstance(schema, str):
        source.add(*(line.format(v=value) for line in _WRITES[schema]))
    elif schema["type"] == "record":
        for field in schema["fields"]:
            own = source.name()
            if "default" in field:
                source.add(f"{own} = {value}.get({field['name']!r}, {field['default']!r})")
            else:
                source.add(f"{own} = {value}[{field['name']!r}]")
            _write(source, field["type"], own)
    elif schema["type"] == "array":
        own = source.name()
        with source.block(f"if {value}:"):
            source.add(f"put(long(len({value})))")
            with source.block(f"for {own} in {value}:"):
                _write(source, schema["items"], own)
        source.add("put(b'\\0')")
    else:
        _write(source, schema["type"], value)


_SIZED = ("n = len(b)", "put(short[n] if n < 64 else long(n))", "put(b)")
_WRITES = {
    "null": (),
    "boolean": ("put(b'\\1' if {v} else b'\\0')",),
    "int": ("put(short[{v}] if {v}.__class__ is whole and 0 <= {v} < 64 else int32({v}))",),
    "long": ("put(short[{v}] if {v}.__class__ is whole and 0 <= {v} < 64 else long({v}))",),
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


# --- reading


def _read(source: _Source, schema: Any, wanted: Mapping[str, Any] | None, finite: bool) -> str:
    """Adds lines that read a value; the expression that holds it."""
    if isinstance(schema, list):
        own = source.name()
        source.add("n = data[pos]", "pos += 1")
        for index, branch in enumerate(schema):
            with source.block(f"{'elif' if index else 'if'} n == {2 * index}:"):
                source.add(f"{own} = {_read(source, branch, wanted, finite)}")
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
            source.add(f"{own}.append({_read(source, schema['items'], wanted, finite)})")
        return own
    return _read(source, schema["type"], wanted, finite)


def _read_record(source: _Source, schema: Mapping[str, Any], wanted: Mapping[str, Any] | None, finite: bool) -> str:
    names = [field["name"] for field in schema["fields"]]
    unknown = [] if wanted is None else [name for name in wanted if name not in names]
    if unknown:
        raise KeyError(f"{schema['name']} has no field {unknown[0]}")
    found = []
    for field in schema["fields"]:
        if wanted is None or field["name"] in wanted:
            value = _read(source, field["type"], (wanted or {}).get(field["name"]) or None, finite)
            found.append(f"{field['name']!r}: {value}")
        else:
            _skip(source, field["type"])
    own = source.name()
    source.add(f"{own} = {{{', '.join(found)}}}")
    return own


def _read_primitive(source: _Source, kind: str, finite: bool) -> str:
    if kind == "null":
        return "None"
    own = source.name()
    if kind == "boolean":
        source.add(f"{own} = data[pos] != 0", "pos += 1")
    elif kind in ("float", "double"):
        source.add(f"{own} = unpack_{kind}(data, pos)[0]", f"pos += {_FIXED_BYTES[kind]}")
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


def _skip(source: _Source, schema: Any) -> None:
    """Adds lines that pass over a value."""
    if isinstance(schema, list):
        source.add("n = data[pos]", "pos += 1")
        for index, branch in enumerate(schema):
            with source.block(f"{'elif' if index else 'if'} n == {2 * index}:"):
                source.add("pass")
                _skip(source, branch)
        with source.block("else:"):
            source.add("raise Malformed('no such branch of a union')")
    elif isinstance(schema, str):
        if schema in _FIXED_BYTES:
            source.add(f"pos += {_FIXED_BYTES[schema]}")
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


def _varint(source: _Source) -> None:
    source.add("n = data[pos]", "pos += 1")
    with source.block("if n > 127:"):
        source.add("n, pos = varint(data, n, pos)")


def _length(source: _Source) -> None:
    """``n`` becomes the position after a string's last byte."""
    _varint(source)
    with source.block("if n & 1:"):
        source.add("raise Malformed('a negative length')")
    source.add("n = pos + (n >> 1)")


class _blocks_of:
    """Adds the loops over an array's blocks around what is added in it. A block can't hold more elements than bytes are left."""

    def __init__(self, source: _Source) -> None:
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


_HELPERS: dict[str, Any] = {
    "short": tuple(bytes((2 * n,)) for n in range(64)),
    "whole": int,
    "long": _long,
    "int32": _int32,
    "pack_float": Struct("<f").pack,
    "pack_double": Struct("<d").pack,
    "unpack_float": Struct("<f").unpack_from,
    "unpack_double": Struct("<d").unpack_from,
    "varint": _decode_varint,
    "Malformed": MalformedError,
    "NotFinite": NotFiniteError,
}
