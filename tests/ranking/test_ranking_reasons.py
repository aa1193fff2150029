from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.embedding import embed, scratch_for
from streams.ranking.reasons import Reasons, explain
from streams.ranking.request import Entry, Request, Source
from streams.ranking.rules import PURCHASE, SEARCH
from tests.support.profile_harness import DIMENSION, TITLES, ProfileHarness

WORLD = ProfileHarness()
ITEMS = sorted(TITLES)


def explained(history: dict[str, float], query: bool, chosen: list[str], priors: list[float], most: int) -> tuple[Reasons, np.ndarray]:
    entries = [Entry(weight, n, PURCHASE) for n, weight in enumerate(history.values())]
    request = Request(list(history), entries, [], "tea" if query else None, [], 0)
    scratch = scratch_for([request], DIMENSION)
    embedding = embed(request, WORLD.matrix, {"tea": WORLD.matrix.vectors[5]}, scratch, half_life_ms=1e6, blend=0.6)
    vectors = WORLD.matrix.vectors[[WORLD.matrix.rows[item] for item in chosen]]
    added = np.array(priors[: len(chosen)], np.float32)
    reasons = explain([embedding], lambda e: e.parts(WORLD.matrix, scratch), counts=[len(chosen)], vectors=vectors, priors=added, most=most)
    return reasons[0], vectors @ embedding.vector + added


histories = st.dictionaries(st.sampled_from(ITEMS), st.sampled_from((-0.5, 0.2, 1.0, 1.5)), max_size=12)


@settings(deadline=None)
@given(
    histories, st.booleans(), st.lists(st.sampled_from(ITEMS), min_size=1, max_size=5), st.lists(st.floats(0, 2), min_size=5, max_size=5)
)
def test_all_shares_add_up_to_the_score(history: dict[str, float], query: bool, chosen: list[str], priors: list[float]) -> None:
    reasons, scores = explained(history, query, chosen, priors, 100)
    assert reasons.shares.shape == (len(chosen), len(history) + query + 1)
    assert reasons.shares.sum(axis=1) == pytest.approx(scores, abs=2e-6)
    assert (np.diff(reasons.shares, axis=1) <= 0).all()
    for row in reasons.places:
        assert len({reasons.sources[place] for place in row.tolist()}) == len(row)


@settings(deadline=None)
@given(histories, st.booleans(), st.lists(st.sampled_from(ITEMS), min_size=1, max_size=5), st.integers(0, 6))
def test_the_largest_are_kept(history: dict[str, float], query: bool, chosen: list[str], most: int) -> None:
    priors = [0.1] * 5
    few, _ = explained(history, query, chosen, priors, most)
    every, _ = explained(history, query, chosen, priors, 100)
    width = min(most, every.shares.shape[1])
    assert (few.shares == every.shares[:, :width]).all()
    for row, full in zip(few.places.tolist(), every.places.tolist(), strict=True):
        assert [few.sources[p] for p in row] == [every.sources[p] for p in full[:width]]


def test_sources_are_named() -> None:
    reasons, _ = explained({ITEMS[0]: 1.0}, True, [ITEMS[0]], [0.5], 10)
    named = {reasons.sources[place] for place in reasons.places[0].tolist()}
    assert named == {Source("item", ITEMS[0], PURCHASE), Source("query", None, SEARCH), Source("popularity", None, None)}


def test_requests_without_items_have_no_reasons_and_do_not_disturb_others() -> None:
    request = Request([ITEMS[0]], [Entry(1.0, 0, PURCHASE)], [], None, [], 0)
    scratch = scratch_for([request], DIMENSION)
    embedding = embed(request, WORLD.matrix, {}, scratch, half_life_ms=1e6, blend=0.6)
    first, second = explain(
        [embedding, embedding],
        lambda e: e.parts(WORLD.matrix, scratch),
        counts=[0, 1],
        vectors=WORLD.matrix.vectors[:1],
        priors=np.zeros(1, np.float32),
        most=3,
    )
    assert (first.sources, first.shares.shape) == ([], (0, 2))
    assert second.shares.shape == (1, 2)
