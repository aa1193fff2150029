"""How a mapping says where one field stands: a path, several of which the first that has something counts, a constant, an expression."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from streams.sources.paths import Get, compile_jmespath, compile_path, direct
from streams.sources.yaml_nodes import Node
from streams.stages.placeholders import LONGEST, NOTHING, is_nothing

Getter = Callable[[Any, Any], Any]
"""From a record and one of its lines (the record itself where it has none) to a value."""

MAX_ALTERNATIVES = 12
_LINE = "line."
_QUOTED = re.compile(r'"([^"]{1,128})"')


def field_getter(node: Node, firsts: set[str], *, has_lines: bool) -> Getter:
    """The getter of a field; the first names of its paths in the record are added to ``firsts``, those in a
    line after ``line.``.

    Raises ConfigurationError, or ValueError for a wrong path or expression.
    """
    if node.is_text:
        return _of_path(node.text(), firsts, has_lines=has_lines)
    if node.is_list:
        getters = [field_getter(element, firsts, has_lines=has_lines) for element in node.elements()]
        if not 0 < len(getters) <= MAX_ALTERNATIVES:
            raise node.wrong(f"from one to {MAX_ALTERNATIVES} alternatives are possible")
        return getters[0] if len(getters) == 1 else _first(getters)
    parts = node.fields(("path", "value", "jmespath", "join", "with", "after_last"))
    kinds = [name for name in ("path", "value", "jmespath", "join") if name in parts]
    if len(kinds) != 1:
        raise node.wrong("exactly one of path, value, jmespath and join is needed")
    if "value" in parts:
        constant = parts["value"].text()
        return lambda record, line: constant
    if "jmespath" in parts:
        search = compile_jmespath(parts["jmespath"].text())
        firsts.update(_QUOTED.findall(parts["jmespath"].text()))
        getter: Getter = lambda record, line: search(record)  # noqa: E731
    elif "join" in parts:
        joined = [field_getter(element, firsts, has_lines=has_lines) for element in parts["join"].elements()]
        getter = _joined(joined, parts["with"].text() if "with" in parts else "/")
    else:
        getter = field_getter(parts["path"], firsts, has_lines=has_lines)
    return _after_last(getter, parts["after_last"].text()) if "after_last" in parts else getter


def _of_path(path: str, firsts: set[str], *, has_lines: bool) -> Getter:
    if path == "line" and has_lines:
        return lambda record, line: line if type(line) in (str, int) else None
    if path.startswith(_LINE) and has_lines:
        get = compile_path(path.removeprefix(_LINE))
        firsts.add(_LINE + _first_name(path.removeprefix(_LINE)))
        return lambda record, line: get(line)
    of_record: Get = compile_path(path)
    firsts.add(_first_name(path))
    return direct(path) or (lambda record, line: of_record(record))


def _first_name(path: str) -> str:
    if path.startswith('"'):
        return path[1:].partition('"')[0]
    return path.split(".", 1)[0].split("[", 1)[0]


def _first(getters: list[Getter]) -> Getter:
    """The first value that is something; a placeholder only where there is nothing else."""

    def get(record: Any, line: Any) -> Any:
        placeholder = None
        for getter in getters:
            value = getter(record, line)
            if value is None:
                continue
            if type(value) is not str or len(value) > LONGEST:
                return value
            text = value.strip()
            if text and text.lower() not in NOTHING:
                return value
            placeholder = value if placeholder is None else placeholder
        return placeholder

    return get


def _joined(getters: list[Getter], separator: str) -> Getter:
    """One text of several, nothing where one of them is missing."""

    def get(record: Any, line: Any) -> Any:
        parts = [getter(record, line) for getter in getters]
        if any(type(part) is not int and (type(part) is not str or not part.strip() or is_nothing(part.strip())) for part in parts):
            return None
        return separator.join(map(str, parts))

    return get


def _after_last(getter: Getter, mark: str) -> Getter:
    """What follows the last of a mark: the number of gid://shopify/Product/123."""

    def get(record: Any, line: Any) -> Any:
        value = getter(record, line)
        return value.rpartition(mark)[2] if type(value) is str else value

    return get
