"""A bounded memory of a pure function's answers, for texts of which a shop sees the same few over and over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """Calls a function of a text, or remembers what it said. Long texts are not kept.

    >>> shout = Memo(str.upper, entries=10, characters=5)
    >>> shout("a"), shout("a")
    ('A', 'A')
    """

    def __init__(self, function: Callable[[str], T], *, entries: int, characters: int) -> None:
        self._function = function
        self._entries = entries
        self._characters = characters
        self._answers: dict[str, T] = {}

    def __call__(self, text: str) -> T:
        try:
            return self._answers[text]
        except KeyError:
            answer = self._function(text)
            if len(text) <= self._characters:
                if len(self._answers) >= self._entries:
                    self._answers.clear()
                self._answers[text] = answer
            return answer
