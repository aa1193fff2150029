"""What is remembered answers as the function does, whatever is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest.remembered import Remembered


@given(st.lists(st.text("abc", max_size=4), max_size=60))
def test_same_answers(texts: list[str]) -> None:
    calls: list[str] = []

    def length(text: str) -> int:
        calls.append(text)
        return len(text)

    known = Remembered(length, entries=5, characters=3)
    assert [known[text] for text in texts] == [len(text) for text in texts]
    assert len(known) <= 5, "the memory is bounded"
    if len({text for text in texts if len(text) <= 3}) <= 5:
        short = [text for text in calls if len(text) <= 3]
        assert len(short) == len(set(short))
    assert sum(len(text) > 3 for text in calls) == sum(len(text) > 3 for text in texts), "long ones are not kept"
