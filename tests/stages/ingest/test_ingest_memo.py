"""A memo answers as its function does, whatever it has forgotten."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest import memo as module
from streams.stages.ingest.memo import Memo


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(st.lists(st.text("abc", max_size=4), max_size=60))
def test_same_answers(texts: list[str]) -> None:
    calls: list[str] = []

    def length(text: str) -> int:
        calls.append(text)
        return len(text)

    memo = Memo(length, entries=5, characters=3)
    assert [memo(text) for text in texts] == [len(text) for text in texts]
    assert len(memo._answers) <= 5
    assert all(len(text) <= 3 for text in memo._answers)
    if len({text for text in texts if len(text) <= 3}) <= 5:
        short = [text for text in calls if len(text) <= 3]
        assert len(short) == len(set(short))
