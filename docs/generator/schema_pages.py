"""The page of Avro schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import schemas
from docs.generator.markdown import NOTICE, prose, table
from streams.topics import TOPICS

_INTRODUCTION = """# Schemas
{notice}

The values of each [topic](topics.md), as Avro. The files are in `schemas/avro/`; `schemas/released/` holds every version that was released.
All versions of a topic can read each other. A field with a default may be left out by a producer. Records inside a record have a table of
their own.
"""


def page() -> str:
    """The page's text: a section for each topic, in the order of the table of topics."""
    parts = [_INTRODUCTION.format(notice=NOTICE)]
    for spec in TOPICS:
        schema = json.loads(schemas.current(spec.name))
        versions = len(schemas.released(spec.name))
        count = f"{versions} released version{'' if versions == 1 else 's'}"
        parts += [f"## `{spec.name}`", f"`{schema['namespace']}.{schema['name']}`, {count}. {prose(schema.get('doc', ''))}", ""]
        for record in records(schema):
            if record is not schema:
                parts += [f"**`{record['name']}`** {prose(record.get('doc', ''))}".rstrip(), ""]
            parts += [table(("field", "type", "default", "meaning"), map(_field, record["fields"])), ""]
    return "\n".join(parts).rstrip() + "\n"


def records(schema: Any) -> Iterator[Mapping[str, Any]]:
    """A record and those inside it, the outer first."""
    if isinstance(schema, list):
        for option in schema:
            yield from records(option)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
            for field in schema["fields"]:
                yield from records(field["type"])
        else:
            yield from (inner for name in ("items", "values") if name in schema for inner in records(schema[name]))


def type_of(schema: Any) -> str:
    """A type in words of Avro.

    >>> type_of(["null", {"type": "array", "items": "string"}])
    'null or array of string'
    """
    if isinstance(schema, list):
        return " or ".join(type_of(option) for option in schema)
    if isinstance(schema, str):
        return schema
    match schema["type"]:
        case "array":
            return f"array of {type_of(schema['items'])}"
        case "map":
            return f"map of {type_of(schema['values'])}"
        case "record":
            return f"`{schema['name']}`"
        case "enum":
            return "one of " + ", ".join(f"`{symbol}`" for symbol in schema["symbols"])
        case "fixed":
            return f"{schema['size']} bytes"
    return type_of(schema["type"]) + (f" ({schema['logicalType']})" if "logicalType" in schema else "")


def _field(field: Mapping[str, Any]) -> tuple[str, str, str, str]:
    default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
    return f"`{field['name']}`", type_of(field["type"]), default, prose(field.get("doc", ""))
