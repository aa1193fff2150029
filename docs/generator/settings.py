"""The page of settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from docs.generator.markdown import NOTICE, names, prose, table
from docs.generator.readers import in_words, readers
from streams.settings import KafkaSettings, Settings

_UNITS = {
    "_per_s": "a second",
    "_per_minute": "a minute",
    "_a_day": "a day",
    "_ms": "milliseconds",
    "_s": "seconds",
    "_minutes": "minutes",
    "_h": "hours",
    "_days": "days",
    "_bytes": "bytes",
    "_mb": "MiB",
    "_characters": "characters",
}
"""The end of a name says the unit. The first that fits counts."""
_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}
_HEAD = ("variable", "default", "type", "unit", "read by", "meaning")
_INTRODUCTION = """# Settings
{notice}

Settings are environment variables. `veilstream settings` lists them with their values on this machine, and names what is wrong.

- *Read by* says whose behaviour a setting changes: stages of `veilstream worker`, the trainer, or commands (all others of
  [`veilstream`](commands.md)). *All* reads it everywhere.
- A secret is never a setting: a setting names the file that holds it.
- How settings reach pods: [kubernetes.md](../kubernetes.md).
"""


def page() -> str:
    """The page's text, from the classes of settings and from the code that reads them."""
    who = {name: in_words(found) for name, found in readers().items()}
    parts = [_INTRODUCTION.format(notice=NOTICE)]
    parts += [
        "## Kafka",
        _prose(KafkaSettings),
        _table(KafkaSettings, KafkaSettings.model_fields, dict.fromkeys(KafkaSettings.model_fields, "all")),
    ]
    for base in reversed(Settings.__mro__):
        own = {name: Settings.model_fields[name] for name in inspect.get_annotations(base) if name in Settings.model_fields}
        if issubclass(base, BaseSettings) and own:
            parts += [f"## {base.__name__.removesuffix('Settings')}", _prose(base), _table(Settings, own, who)]
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def unit_of(name: str) -> str:
    """The unit of a setting, by the end of its name; empty where it has none.

    >>> unit_of("session_timeout_s"), unit_of("reseal_per_s"), unit_of("top_k")
    ('seconds', 'a second', '')
    """
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def type_of(field: FieldInfo) -> str:
    """What a setting takes: its type and bounds, or its values.

    >>> type_of(Settings.model_fields["partitions"]), type_of(Settings.model_fields["state_store"])
    ('whole number, 1 to 256', '`rocksdb`, `memory`')
    """
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return names(get_args(kind))
    return ", ".join([_PLAIN[kind] if isinstance(kind, type) else str(kind), *_bounds(field)])


def _bounds(field: FieldInfo) -> Iterator[str]:
    found: dict[str, Any] = {}
    for limit in field.metadata:
        found |= {
            name: getattr(limit, name) for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern") if hasattr(limit, name)
        }
    if "ge" in found and "le" in found:
        yield f"{found['ge']:,} to {found['le']:,}"
    else:
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        bounds = [f"{word} {found[name]:,}" for name, word in words.items() if name in found]
        if bounds:
            yield " and ".join(bounds)
    if "min_length" in found and found["min_length"] == found.get("max_length"):
        yield f"{found['min_length']} characters"
    if found.get("pattern") is not None:
        yield f"matches `{found['pattern']}`"


def _table(cls: type[BaseSettings], fields: Mapping[str, FieldInfo], who: Mapping[str, str]) -> str:
    prefix = str(cls.model_config.get("env_prefix", ""))
    rows = [
        (f"`{prefix}{name.upper()}`", _default(field.default), type_of(field), unit_of(name), who[name], prose(field.description or ""))
        for name, field in fields.items()
    ]
    return table(_HEAD, rows) + "\n"


def _default(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if str(value) else "empty"


def _prose(cls: type[BaseSettings]) -> str:
    return (cls.__doc__ or "").replace("``", "`").strip() + "\n"
