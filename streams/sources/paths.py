"""Where in a record a value stands: plain paths as functions, and JMESPath where a path is not enough."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Get = Callable[[Any], Any]

MAX_SEGMENTS = 12
MAX_EXPRESSION = 512
_MAX_NODES = 64
_MAX_LOOPS = 3
_SEGMENT = re.compile(
    r"(?P<name>[^\s.\[\]\"=]{1,128})(?P<selector>\[(?:(?P<index>\d{1,4})|(?P<key>[^\s.\[\]\"=]{1,64})=(?P<value>[^\[\]\"=]{1,128}))\])?"
    r"|\"(?P<quoted>[^\"]{1,128})\"(?P<quoted_index>\[\d{1,4}\])?"
)
_NODES = frozenset(
    {
        *("field", "subexpression", "index", "index_expression", "projection", "filter_projection", "comparator", "literal", "pipe"),
        *("or_expression", "and_expression", "not_expression", "function_expression", "current", "identity", "slice"),
    }
)
_LOOPS = frozenset({"projection", "filter_projection"})
_FUNCTIONS = frozenset({"not_null", "to_string", "to_number", "length", "contains", "starts_with", "ends_with", "join", "type"})


def compile_path(path: str) -> Get:
    """A function from a JSON object to the value at the path; None where there is none.

    A path is of names, ``a.b``; of places in arrays, ``a[0]``; of an array's first object with a key's value,
    ``a[key=search_term].value``; and of names in quotes, ``"a b".c``. Raises ValueError that says what is wrong.
    """
    steps: list[Get] = []
    position = 0
    while position < len(path):
        found = _SEGMENT.match(path, position)
        if found is None:
            raise ValueError(f"the path is wrong at character {position + 1}")
        steps.append(_named(found["quoted"] if found["quoted"] is not None else found["name"]))
        index = found["index"] or (found["quoted_index"] or "").strip("[]")
        if index:
            steps.append(_placed(int(index)))
        elif found["key"] is not None:
            steps.append(_keyed(found["key"], found["value"]))
        position = found.end()
        if position < len(path):
            if path[position] != "." or position + 1 == len(path):
                raise ValueError(f"the path is wrong at character {position + 1}")
            position += 1
    if not steps:
        raise ValueError("the path is empty")
    if len(steps) > MAX_SEGMENTS:
        raise ValueError(f"the path has more than {MAX_SEGMENTS} steps")
    return _chained(steps)


def direct(path: str) -> Callable[[Any, Any], Any] | None:
    """A getter of a record, an object, for a path of one or two plain names, in one call; None for other paths."""
    names = path.split(".")
    if len(names) > 2 or not all(re.fullmatch(r"[A-Za-z0-9_$-]{1,128}", name) for name in names):
        return None
    first, last = names[0], names[-1]
    if len(names) == 1:
        return lambda record, line: record.get(first)

    def get(record: Any, line: Any) -> Any:
        inner = record.get(first)
        return inner.get(last) if type(inner) is dict else None

    return get


def compile_jmespath(expression: str) -> Get:
    """A function as above, of a JMESPath expression. Raises ValueError for one that is wrong, or could be slow: only what takes a time
    in proportion to the record is allowed.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    if len(expression) > MAX_EXPRESSION:
        raise ValueError(f"the expression has more than {MAX_EXPRESSION} characters")
    try:
        compiled = jmespath.compile(expression)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"no JMESPath: {' '.join(str(error).split())[:200]}") from None
    _bound(compiled.parsed)
    search = compiled.search

    def get(record: Any) -> Any:
        try:
            return search(record)
        except (JMESPathError, TypeError, ValueError, AttributeError):
            return None  # a record that is not as the expression expects holds no such value

    return get


def _bound(tree: Any) -> None:
    nodes, loops, pending = 0, 0, [tree]
    while pending:
        node = pending.pop()
        kind = node["type"]
        nodes += 1
        loops += kind in _LOOPS
        if kind == "function_expression" and node["value"] not in _FUNCTIONS:
            raise ValueError(f"function {node['value']}() is not available; there are {', '.join(sorted(_FUNCTIONS))}")
        if kind not in _NODES and kind != "flatten":
            raise ValueError(f"{kind.replace('_', ' ')} is not available in a mapping")
        if nodes > _MAX_NODES or loops > _MAX_LOOPS:
            raise ValueError(f"the expression is too large: at most {_MAX_NODES} parts, of which {_MAX_LOOPS} go over an array")
        pending += node["children"]


def _named(name: str) -> Get:
    def get(value: Any) -> Any:
        return value.get(name) if type(value) is dict else None

    return get


def _placed(index: int) -> Get:
    def get(value: Any) -> Any:
        return value[index] if type(value) is list and index < len(value) else None

    return get


def _keyed(key: str, wanted: str) -> Get:
    def get(value: Any) -> Any:
        if type(value) is list:
            for element in value:
                if type(element) is dict and element.get(key) == wanted:
                    return element
        return None

    return get


def _chained(steps: list[Get]) -> Get:
    if len(steps) == 1:
        return steps[0]
    if len(steps) == 2:
        first, second = steps
        return lambda value: second(first(value))

    def get(value: Any) -> Any:
        for step in steps:
            value = step(value)
            if value is None:
                return None
        return value

    return get
