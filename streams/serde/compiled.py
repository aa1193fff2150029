"""Avro values to bytes and back by functions that are made for one schema, as ``dataclasses`` makes methods for one class.

A general library walks the schema again for every value; here it is walked once, into straight-line Python. For the product's
records that writes three times and reads twice as fast as fastavro, and fields that nobody wants are passed over almost for
free (docs/decisions/0005). What is not known here (maps, enums; for writing, unions of more than null and one type) gives None,
and fastavro does the work. Wire format: Apache Avro specification 1.12, "Binary encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from streams.serde import compiled_reader, compiled_writer
from streams.serde.compiled_reader import FIXED_BYTES, read_value
from streams.serde.compiled_writer import write_value
from streams.serde.function_source import FunctionSource

Writer = Callable[[Mapping[str, Any]], bytes]
Reader = Callable[[bytes, int], tuple[dict[str, Any], int]]

_PRIMITIVES = frozenset({*FIXED_BYTES, "int", "long", "string", "bytes"})


def compile_writer(schema: Mapping[str, Any]) -> Writer | None:
    """A function from a record's fields to its Avro body; None where the schema holds what this module does not know.

    The function raises ValueError or TypeError (or KeyError, AttributeError or struct.error) for what does not fit.
    """
    if not _is_known(schema, any_union=False):
        return None
    head = ("def write(value):", "out = []", "put = out.append")
    partial = FunctionSource(compiled_writer.HELPERS, *head)
    write_value(partial, schema, "value")
    partial.add("return b''.join(out)")
    # Most records are complete, and to ask for defaults costs more than to find that one is needed.
    source = FunctionSource({**compiled_writer.HELPERS, "partial": partial.function("write")}, *head)
    with source.block("try:"):
        write_value(source, schema, "value", complete=True)
    with source.block("except KeyError:"):
        source.add("return partial(value)")
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
    source = FunctionSource(compiled_reader.HELPERS, "def read(data, pos):")
    result = read_value(source, schema, wanted, finite)
    source.add(f"return {result}, pos")
    return cast(Reader, source.function("read"))


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
        return FIXED_BYTES.get(schema, 1)
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
