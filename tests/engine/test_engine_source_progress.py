"""Offers of one source: they never go back, and a commit ends the one that it took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.source_progress import SourceProgress

POSITIONS = {("out", 0): 3}


@given(base=st.integers(0, 100), applied=st.lists(st.integers(0, 50), min_size=1))
def test_what_is_offered_counts_as_the_topic_does_and_never_goes_back(base: int, applied: list[int]) -> None:
    progress = SourceProgress(base=base, incarnation=7)
    for count, offset in enumerate(applied, start=1):
        progress.next_offset = base + offset
        progress.offer_with(POSITIONS)
        if progress.offer is not None:
            assert progress.offer.offset == offset
            progress.on_committed(progress.offer.commit())
        assert (progress.committed, progress.offer) == (max(applied[:count]), None)


def test_a_commit_of_an_older_offer_leaves_the_newer_one() -> None:
    progress = SourceProgress(next_offset=5)
    progress.offer_with(POSITIONS)
    assert progress.offer is not None
    older = progress.offer.commit()
    progress.next_offset = 8
    progress.offer_with(POSITIONS)
    progress.on_committed(older)
    assert (progress.committed, progress.offer is not None and progress.offer.offset) == (5, 8)
