"""A function's source text while it is being written, and the function that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FunctionSource:
    """Lines, which may refer to the ``helpers``; and names for what they assign."""

    def __init__(self, helpers: Mapping[str, Any], head: str, *lines: str) -> None:
        self._lines = [head]
        self._depth = 1
        self._names = 0
        self._globals = dict(helpers)
        self.add(*lines)

    def add(self, *lines: str) -> None:
        self._lines += ["    " * self._depth + line for line in lines]

    def name(self) -> str:
        """A new name."""
        self._names += 1
        return f"n{self._names}"

    def block(self, head: str) -> FunctionSource:
        """``with source.block("if x:")`` indents what is added in it."""
        self.add(head)
        return self

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1

    def function(self, name: str) -> Any:
        """The function, under the name that its head has."""
        # Every line comes from compiled_writer and compiled_reader; of a schema only field names go into it, as quoted literals.
        exec(compile("\n".join(self._lines), f"<avro {name}>", "exec"), self._globals)  # noqa: S102
        return self._globals[name]
