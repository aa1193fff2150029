"""A mapping as a file says it: how a source's records become behaviour events. Read with clear errors, checked as a whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, unquote_plus

from streams.errors import ConfigurationError
from streams.sources.getters import MAX_ALTERNATIVES, Getter, field_getter
from streams.sources.moments import ReadTime, time_reader
from streams.sources.numbers import FORMATS, ReadNumber, number_reader
from streams.sources.paths import Get, compile_path
from streams.sources.yaml_nodes import Node, parse
from streams.stages.identifiers import EVENT_TYPES

SKIP = "skip"
KINDS = ("events", "items")
FIELDS = {
    "type": "event_type",
    "user": "user_id",
    "anonymous": "anonymous_id",
    "consent": "consent",
    "event_id": "event_id",
    "time": "occurred_at",
    "item": "item_id",
    "query": "query",
    "quantity": "quantity",
    "price": "price",
    "currency": "currency",
    "recommendation_id": "recommendation_id",
    "position": "position",
    "session": "session_id",
    "region": "region",
    "user_agent": "user_agent",
}
"""A mapping's names of the fields, and those of the events."""
_TOP = (
    *(
        "source",
        "kind",
        "about",
        "documentation",
        "format",
        "csv",
        "encoding",
        "split",
        "lines",
        "line_id",
        "types",
        "other_types",
        "fields",
        "number",
    ),
    *("time", "percent_encoded", "form_encoded", "placeholders", "namespace", "fractions", "negative", "without_user", "identify"),
)
_DELIMITERS = {"tab": "\t", ",": ",", ";": ";", "|": "|", "\t": "\t", "\x01": "\x01", "ctrl-a": "\x01"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_TYPES = 500


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How the lines of a CSV file are written."""

    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    """None: the first line names them."""


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """A mapping, checked and compiled part by part."""

    name: str
    about: str
    form: Literal["json", "csv"]
    csv: CsvForm
    encoding: str
    split: str | None
    """The array of a record whose elements are records by themselves; what is beside it is their ``batch``."""
    lines: tuple[Get, ...]
    """Where the lines of a record are: the first that is there counts."""
    line_id: Getter | None
    types: Mapping[str, str] | None
    """In lower case, to an event type or ``skip``; None: types are as they are."""
    skips_others: bool
    getters: Mapping[str, Getter]
    """By the names of events' fields."""
    read_number: ReadNumber
    read_time: ReadTime
    encoded: tuple[tuple[str, Callable[..., str]], ...]
    """Fields, and how their encoding is undone."""
    nobody: frozenset[str]
    nothing: frozenset[str]
    """More placeholders than those that every source has, in lower case."""
    namespace: str | None
    nobody_if_missing: bool
    """A record without a user is of nobody, instead of a fault."""
    fractions_are_one: bool
    negative_is_return: bool
    links_sessions: bool = False
    """The first event of a session with a user, an anonymous id and consent is an identify event, too."""
    columns: frozenset[str] = field(default_factory=frozenset)
    """The first names of all paths."""
    needed_columns: tuple[str, ...] = ()
    """Of type, user, item or query and time: the first names of their paths, alternatives separated by ``|``."""


def load_mapping(path: Path) -> SourceMapping:
    """Raises ConfigurationError, with the line, for a file that is missing or wrong."""
    return read_mapping(mapping_text(path), str(path))


def mapping_text(path: Path) -> bytes:
    """The text of a mapping's file, or the beginning of one that is too long. Raises ConfigurationError if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(70_000)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None


def read_mapping(text: str | bytes, file: str) -> SourceMapping:
    """A mapping from the text of its file. Raises as above."""
    root = parse(text, file)
    if kind_of(root) != "events":
        raise root.wrong("this is a mapping of items, and one of events is needed")
    top = root.fields(_TOP)
    if "source" not in top or "fields" not in top:
        raise root.wrong("`source` (a name) and `fields` are needed")
    name = name_of(top["source"])
    form: Literal["json", "csv"] = "csv" if "format" in top and top["format"].one_of(("json", "csv")) == "csv" else "json"
    firsts: set[str] = set()
    getters, needed = _fields(top["fields"], firsts, has_lines="lines" in top)
    links_sessions = "identify" in top and top["identify"].one_of(("by_type", "first_of_session")) == "first_of_session"
    if links_sessions and not {"user_id", "anonymous_id", "consent"} <= getters.keys():
        raise top["identify"].wrong("user, anonymous and consent must be said in `fields`")
    placeholders = top["placeholders"].fields(("user", "item")) if "placeholders" in top else {}
    namespace = top["namespace"].text() if "namespace" in top else None
    if namespace is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", namespace):
        raise top["namespace"].wrong("a namespace is of letters, digits, _ and -, at most 32")
    return SourceMapping(
        name=name,
        about=top["about"].text() if "about" in top else "",
        form=form,
        csv=csv_of(top["csv"]) if "csv" in top else CsvForm(),
        encoding=encoding_of(top["encoding"]) if "encoding" in top else "utf-8",
        split=top["split"].text() if "split" in top else None,
        lines=tuple(path_of(path) for path in top["lines"].elements()[:MAX_ALTERNATIVES]) if "lines" in top else (),
        line_id=getter_of(top["line_id"], firsts, has_lines="lines" in top) if "line_id" in top else None,
        types=_types(top["types"]) if "types" in top else None,
        skips_others="other_types" in top and top["other_types"].one_of(("refuse", SKIP)) == SKIP,
        getters=getters,
        read_number=number_reader(number_of(top["number"]) if "number" in top else None),
        read_time=time_of(top["time"]) if "time" in top else time_reader(),
        encoded=(*_encoded(top.get("percent_encoded"), unquote), *_encoded(top.get("form_encoded"), unquote_plus)),
        nobody=lowered(placeholders.get("user")),
        nothing=lowered(placeholders.get("item")),
        namespace=namespace,
        nobody_if_missing="without_user" in top and top["without_user"].one_of(("refuse", "nobody")) == "nobody",
        fractions_are_one="fractions" in top and top["fractions"].one_of(("refuse", "one")) == "one",
        negative_is_return="negative" in top and top["negative"].one_of(("refuse", "return")) == "return",
        links_sessions=links_sessions,
        columns=frozenset(first for first in firsts if not first.startswith("line.")),
        needed_columns=tuple(needed),
    )


def kind_of(root: Node) -> str:
    """What a mapping is of: events or items. Raises ConfigurationError."""
    return next((node.one_of(KINDS) for key, node in root.items() if key == "kind"), "events")


def name_of(node: Node) -> str:
    """A source's name. Raises ConfigurationError, as all that follow."""
    name = node.text()
    if not _NAME.fullmatch(name):
        raise node.wrong("a name is of small letters, digits, and . _ -, at most 64")
    return name


def _fields(node: Node, firsts: set[str], *, has_lines: bool) -> tuple[dict[str, Getter], list[str]]:
    getters: dict[str, Getter] = {}
    needed: list[str] = []
    for name, spec in node.items(FIELDS):
        own: set[str] = set()
        getters[FIELDS[name]] = getter_of(spec, own, has_lines=has_lines)
        own = {first for first in own if not first.startswith("line.")}
        firsts |= own
        if own and name in ("type", "user", "item", "time"):
            needed.append("|".join(sorted(own)))
    missing = [] if "event_type" in getters else ["type"]
    if not {"user_id", "anonymous_id"} & getters.keys():
        missing.append("user")
    if missing or not {"item_id", "query"} & getters.keys():
        raise node.wrong(f"{' and '.join(missing) or 'item or query'} must be said; a constant type is `type: {{value: purchase}}`")
    return getters, needed


def getter_of(node: Node, firsts: set[str], *, has_lines: bool) -> Getter:
    """Where a value stands."""
    try:
        return field_getter(node, firsts, has_lines=has_lines)
    except ValueError as error:
        raise node.wrong(str(error)) from None


def path_of(node: Node) -> Get:
    """A plain path."""
    try:
        return compile_path(node.text())
    except ValueError as error:
        raise node.wrong(str(error)) from None


def _types(node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for written, target in node.items():
        found[written.strip().lower()] = target.one_of((*sorted(EVENT_TYPES), SKIP))
        if len(found) > MAX_TYPES:
            raise target.wrong(f"more than {MAX_TYPES} types")
    return found


def csv_of(node: Node) -> CsvForm:
    """How the lines of a file are written."""
    parts = node.fields(("delimiter", "columns"))
    delimiter = ","
    if "delimiter" in parts:
        delimiter = _DELIMITERS[parts["delimiter"].one_of(_DELIMITERS)]
    columns = None
    if "columns" in parts:
        columns = tuple(text.strip() for text in parts["columns"].texts())
        if len(set(columns)) < len(columns) or not all(columns):
            raise parts["columns"].wrong("every column needs a name of its own")
    return CsvForm(delimiter, columns)


def encoding_of(node: Node) -> str:
    """A text encoding."""
    name = node.text()
    try:
        if not codecs.lookup(name)._is_text_encoding:
            raise LookupError
    except LookupError:
        raise node.wrong("is no text encoding, such as utf-8, gbk, latin-1") from None
    return name


def _encoded(node: Node | None, undo: Callable[..., str]) -> list[tuple[str, Callable[..., str]]]:
    return [] if node is None else [(FIELDS[element.one_of(FIELDS)], undo) for element in node.elements()]


def number_of(node: Node) -> str:
    """The example of a number format."""
    return node.one_of(FORMATS)


def time_of(node: Node) -> ReadTime:
    """The reader of times."""
    parts = node.fields(("format", "zone", "unit"))
    try:
        return time_reader(
            parts["format"].texts() if "format" in parts else (),
            parts["zone"].text() if "zone" in parts else None,
            parts["unit"].text() if "unit" in parts else None,
        )
    except ValueError as error:
        raise node.wrong(str(error)) from None


def lowered(node: Node | None) -> frozenset[str]:
    """Texts in small letters; none where there is no node."""
    return frozenset(text.strip().lower() for text in node.texts()) if node is not None else frozenset()
