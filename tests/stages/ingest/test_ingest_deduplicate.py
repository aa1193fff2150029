"""Duplicates are known within the window; the record that brought an event first never is one."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest import deduplicate as module
from streams.stages.ingest.deduplicate import RecentEvents


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_the_window_forgets_the_oldest() -> None:
    recent = RecentEvents(2)
    for offset, event_id in enumerate("abc"):
        recent.remember(event_id, 0, offset)
    assert not recent.is_duplicate("a", 0, 9)
    assert recent.is_duplicate("b", 0, 9)
    assert recent.is_duplicate("c", 1, 2)


def test_no_window() -> None:
    recent = RecentEvents(0)
    recent.remember("a", 0, 0)
    assert not recent.is_duplicate("a", 0, 1)


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(0, 40))
def test_again_from_anywhere(events: list[str], start: int) -> None:
    def run(recent: RecentEvents, first: int) -> list[bool]:
        found = []
        for offset in range(first, len(events)):
            duplicate = recent.is_duplicate(events[offset], 0, offset)
            if not duplicate:
                recent.remember(events[offset], 0, offset)
            found.append(duplicate)
        return found

    recent = RecentEvents(100)
    once = run(recent, 0)
    assert once == [event in events[:offset] for offset, event in enumerate(events)]
    assert run(recent, min(start, len(events))) == once[start:]
