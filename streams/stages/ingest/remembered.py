"""Remembers what a function answered: a shop sends the same few texts over and over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Remembered(dict[str, T]):
    """A function's answers by text, at most so many; when it is full it begins anew. Long texts are not kept.

    A look-up is that of a dictionary, without a call; what the function raises, it raises.

    >>> lengths = Remembered(len, entries=2, characters=3)
    >>> lengths["ab"], lengths["abcd"], dict(lengths)
    (2, 4, {'ab': 2})
    """

    __slots__ = ("_characters", "_entries", "_function")

    def __init__(self, function: Callable[[str], T], *, entries: int, characters: int) -> None:
        super().__init__()
        self._function = function
        self._entries = entries
        self._characters = characters

    def __missing__(self, text: str) -> T:
        answer = self._function(text)
        if len(text) <= self._characters:
            if len(self) >= self._entries:
                self.clear()
            self[text] = answer
        return answer
