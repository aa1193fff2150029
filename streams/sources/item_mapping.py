"""A mapping of a catalogue, as a file says it: how a feed's records become items. Read with clear errors, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streams.sources.availability import own_words
from streams.sources.getters import MAX_ALTERNATIVES, Getter
from streams.sources.mapping import CsvForm, csv_of, encoding_of, getter_of, kind_of, lowered, name_of, number_of, path_of, time_of
from streams.sources.moments import ReadTime, time_reader
from streams.sources.numbers import ReadNumber, number_reader
from streams.sources.paths import Get
from streams.sources.yaml_nodes import Node, parse

FIELDS = (
    *("item", "group", "title", "description", "category", "brand", "currency", "updated"),
    *("price", "sale_price", "sale_dates", "sale_begin", "sale_end"),
    *("availability", "state", "published", "quantity", "oversell", "tracked"),
)
LISTS = ("tags", "images")
HTML = ("title", "description", "category", "brand")
_TOP = (
    *("source", "kind", "about", "documentation", "format", "csv", "xml", "encoding", "split", "gather", "lines", "lines_need"),
    *("fields", "titles", "number", "time", "words", "html", "separators", "same_item", "placeholders"),
    *("hidden_if_null", "untracked_if_null"),
)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
_ELEMENT = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
MAX_WORDS = 500


@dataclass(frozen=True, slots=True)
class ItemMapping:
    """A mapping of items, checked and compiled part by part."""

    name: str
    about: str
    form: Literal["json", "csv", "xml"]
    csv: CsvForm
    elements: frozenset[str]
    """Of XML: the elements that are items."""
    encoding: str | None
    """None: what XML declares; UTF-8 for the others."""
    split: str | None
    """As of events: the array of a record whose elements are records by themselves."""
    gather: tuple[str, ...]
    """Columns of CSV: consecutive rows with the same text in the first that is there are one record, whose lines are the rows."""
    lines: tuple[Get, ...]
    lines_need: Getter | None
    """A line without this is no item: a picture's row of a CSV file."""
    getters: Mapping[str, Getter]
    lists: Mapping[str, tuple[tuple[Getter, ...], tuple[Getter, ...]]]
    """Of tags and images: those of a line, and those that all lines of a record have in common."""
    titles: Mapping[str, Getter]
    """By language, in small letters."""
    read_number: ReadNumber
    read_time: ReadTime
    words: Mapping[str, bool]
    """More words of availability and state."""
    html: frozenset[str]
    """Fields that hold HTML."""
    separators: Mapping[str, str]
    """Of tags and images that are one text."""
    merges: bool
    """Lines of one item id are one item: the cheapest that can be bought; otherwise the second is refused."""
    nothing: frozenset[str]
    """More placeholders of ids."""
    hidden_if_null: tuple[str, ...]
    """Names of the record: the item is not shown where one is there and null."""
    untracked_if_null: tuple[str, ...]
    """Names of the line: its quantity says nothing where one is there and null."""
    columns: frozenset[str]
    """The first names of all paths, those into lines too where rows are gathered."""
    needed_columns: tuple[str, ...]


def read_item_mapping(text: str | bytes, file: str) -> ItemMapping:
    """A mapping from the text of its file. Raises ConfigurationError, with the line."""
    root = parse(text, file)
    if kind_of(root) != "items":
        raise root.wrong("this is a mapping of events, and one of items (`kind: items`) is needed")
    top = root.fields(_TOP)
    if "source" not in top or "fields" not in top:
        raise root.wrong("`source` (a name) and `fields` are needed")
    form: Literal["json", "csv", "xml"] = "json"
    if "format" in top:
        said = top["format"].one_of(("json", "csv", "xml"))
        form = "csv" if said == "csv" else "xml" if said == "xml" else "json"
    for key, of in (("csv", "csv"), ("gather", "csv"), ("xml", "xml")):
        if key in top and form != of:
            raise top[key].wrong(f"is for `format: {of}`")
    has_lines = "lines" in top or "gather" in top
    firsts: set[str] = set()
    getters: dict[str, Getter] = {}
    lists: dict[str, tuple[tuple[Getter, ...], tuple[Getter, ...]]] = {}
    needed = []
    for name, spec in top["fields"].items((*FIELDS, *LISTS)):
        own: set[str] = set()
        if name in LISTS:
            elements = spec.elements() if spec.is_list or spec.is_text else [spec]
            if len(elements) > MAX_ALTERNATIVES:
                raise spec.wrong(f"at most {MAX_ALTERNATIVES} are possible")
            of_line: list[Getter] = []
            shared: list[Getter] = []
            for element in elements:
                its: set[str] = set()
                getter = getter_of(element, its, has_lines=has_lines)
                (of_line if any(first.startswith(_LINE) for first in its) else shared).append(getter)
                own |= its
            lists[name] = (tuple(of_line), tuple(shared))
        else:
            getters[name] = getter_of(spec, own, has_lines=has_lines)
        if own and name in ("item", "title"):
            needed.append("|".join(sorted(first.removeprefix(_LINE) for first in own)))
        firsts |= own
    titles = {}
    if "titles" in top:
        for language, spec in top["titles"].items():
            if not _LANGUAGE.fullmatch(language):
                raise spec.wrong("a language is a tag such as de, or zh-Hant")
            titles[language.lower()] = getter_of(spec, firsts, has_lines=has_lines)
    missing = [name for name in ("item", "title") if name not in getters and not (name == "title" and titles)]
    if missing:
        raise top["fields"].wrong(f"{' and '.join(missing)} must be said")
    placeholders = top["placeholders"].fields(("item",)) if "placeholders" in top else {}
    needs = getter_of(top["lines_need"], firsts, has_lines=has_lines) if "lines_need" in top else None
    untracked = tuple(top["untracked_if_null"].texts()) if "untracked_if_null" in top else ()
    gather = tuple(top["gather"].texts()) if "gather" in top else ()
    if gather:
        firsts.update(gather)
        firsts = {first.removeprefix(_LINE) for first in firsts}
        firsts.update(untracked)
    return ItemMapping(
        name=name_of(top["source"]),
        about=top["about"].text() if "about" in top else "",
        form=form,
        csv=csv_of(top["csv"]) if "csv" in top else CsvForm(),
        elements=_elements(top.get("xml")),
        encoding=encoding_of(top["encoding"]) if "encoding" in top else None,
        split=top["split"].text() if "split" in top else None,
        gather=gather,
        lines=tuple(path_of(path) for path in top["lines"].elements()[:MAX_ALTERNATIVES]) if "lines" in top else (),
        lines_need=needs,
        getters=getters,
        lists=lists,
        titles=titles,
        read_number=number_reader(number_of(top["number"]) if "number" in top else None),
        read_time=time_of(top["time"]) if "time" in top else time_reader(),
        words=_words(top["words"]) if "words" in top else {},
        html=frozenset(element.one_of(HTML) for element in top["html"].elements()) if "html" in top else frozenset(),
        separators=_separators(top["separators"]) if "separators" in top else {},
        merges="same_item" in top and top["same_item"].one_of(("refuse", "merge")) == "merge",
        nothing=lowered(placeholders.get("item")),
        hidden_if_null=tuple(top["hidden_if_null"].texts()) if "hidden_if_null" in top else (),
        untracked_if_null=untracked,
        columns=frozenset(firsts),
        needed_columns=tuple(needed),
    )


_LINE = "line."


def _elements(node: Node | None) -> frozenset[str]:
    if node is None:
        return frozenset({"item", "entry"})
    names = node.fields(("elements",))["elements"].texts() if node.fields(("elements",)) else []
    if not 0 < len(names) <= MAX_ALTERNATIVES or not all(_ELEMENT.fullmatch(name) for name in names):
        raise node.wrong("`elements` are names of XML elements, without prefix")
    return frozenset(names)


def _words(node: Node) -> dict[str, bool]:
    parts = node.fields(("yes", "no"))
    words = {word: name == "yes" for name, part in parts.items() for word in part.texts()}
    if len(words) > MAX_WORDS or not all(word.strip() for word in words):
        raise node.wrong(f"`yes` and `no` are lists of at most {MAX_WORDS} words")
    return own_words(words)


def _separators(node: Node) -> dict[str, str]:
    found = {name: part.text() for name, part in node.fields(LISTS).items()}
    if not all(0 < len(mark) <= 4 for mark in found.values()):
        raise node.wrong("a separator is of one to four characters")
    return found
