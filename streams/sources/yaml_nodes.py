"""YAML as a bounded tree whose nodes know their lines. No tags, no aliases: a mapping cannot refer to itself, nor grow when it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import yaml

from streams.errors import ConfigurationError

MAX_BYTES = 65_536
MAX_DEPTH = 12
MAX_EVENTS = 6000


class Node:
    """A node of the file, with the path of keys that leads to it. Its readers raise ConfigurationError with file and line."""

    def __init__(self, file: str, node: Any, path: str) -> None:
        self._file = file
        self._node = node
        self._path = path

    def wrong(self, problem: str) -> ConfigurationError:
        """The error that says where and what."""
        where = f"{self._path}: " if self._path else ""
        return ConfigurationError(f"{self._file} line {self._node.start_mark.line + 1}: {where}{problem}")

    @property
    def is_text(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def text(self) -> str:
        """What stands there, as it stands there: `no` is no boolean."""
        if not isinstance(self._node, yaml.ScalarNode):
            raise self.wrong("must be a text")
        return str(self._node.value)

    def one_of(self, choices: Collection[str]) -> str:
        text = self.text()
        if text not in choices:
            raise self.wrong(f"must be one of {', '.join(choices)}")
        return text

    def flag(self) -> bool:
        return self.one_of(("true", "false")) == "true"

    def elements(self) -> list[Node]:
        """The elements of a list; a single text is a list of one."""
        if self.is_text:
            return [self]
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.wrong("must be a list")
        return [Node(self._file, node, f"{self._path}[{place}]") for place, node in enumerate(self._node.value)]

    def texts(self) -> list[str]:
        return [element.text() for element in self.elements()]

    def items(self, known: Collection[str] | None = None) -> Iterator[tuple[str, Node]]:
        """Keys and their nodes; a key twice is wrong, and one that is not known."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.wrong("must have keys and values")
        seen: set[str] = set()
        for key, value in self._node.value:
            name = Node(self._file, key, self._path)
            text = name.text()
            if text in seen:
                raise name.wrong(f"{text} is there twice")
            seen.add(text)
            if known is not None and text not in known:
                raise name.wrong(f"{text} is not known; there are {', '.join(known)}")
            yield text, Node(self._file, value, f"{self._path}.{text}" if self._path else text)

    def fields(self, known: Collection[str]) -> dict[str, Node]:
        return dict(self.items(known))


def parse(text: str | bytes, file: str) -> Node:
    """The root of a YAML file. Raises ConfigurationError, with the line, for what is no YAML, too large, too deep, or refers to itself."""
    if len(text) > MAX_BYTES:
        raise ConfigurationError(f"{file} has more than {MAX_BYTES} bytes; a mapping is a page of text")
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise ConfigurationError(f"{file} line {line}: anchors and aliases (& and *) are not available in a mapping")
            if getattr(event, "tag", None) is not None:
                raise ConfigurationError(f"{file} line {line}: tags (!) are not available in a mapping")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ConfigurationError(f"{file} line {line}: nested more than {MAX_DEPTH} deep")
            if count > MAX_EVENTS:
                raise ConfigurationError(f"{file} line {line}: more than {MAX_EVENTS} parts; a mapping is a page of text")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"{file}{where}: no YAML: {getattr(error, 'problem', None) or type(error).__name__}") from None
    except RecursionError:
        raise ConfigurationError(f"{file}: nested too deeply") from None
    if root is None:
        raise ConfigurationError(f"{file} is empty")
    return Node(file, root, "")
