from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.embedding import Embedding, embed, scratch_for
from streams.ranking.request import Entry, Request
from streams.ranking.rules import SEARCH, VIEW
from tests.support.profile_harness import DIMENSION, TITLES, ProfileHarness

HALF_LIFE_MS = 1000.0
WORLD = ProfileHarness()
ITEMS = sorted(TITLES)
QUERIES = {"tea": WORLD.matrix.vectors[3].copy(), "clock": WORLD.matrix.vectors[9].copy()}


def request(items: dict[str, tuple[float, int]], queries: dict[str, tuple[float, int]] | None = None, query: str | None = None) -> Request:
    entries = [Entry(weight, time_ms, VIEW) for weight, time_ms in items.values()]
    asked = [(text, Entry(weight, time_ms, SEARCH)) for text, (weight, time_ms) in (queries or {}).items()]
    return Request(list(items), entries, asked, query, [], 0)


def embedded(one: Request, blend: float = 0.7) -> Embedding:
    return embed(one, WORLD.matrix, QUERIES, scratch_for([one], DIMENSION), half_life_ms=HALF_LIFE_MS, blend=blend)


def vector_of(item: str) -> np.ndarray:
    return WORLD.matrix.vectors[WORLD.matrix.rows[item]].astype(np.float64)


histories = st.dictionaries(
    st.sampled_from([*ITEMS, "unknown"]), st.tuples(st.floats(0.05, 2.0), st.integers(-20_000, 20_000)), min_size=1, max_size=20
)


@given(histories, st.dictionaries(st.sampled_from(["tea", "clock", "not encoded"]), st.tuples(st.floats(0.05, 1), st.integers(0, 9000))))
def test_it_is_the_formula(items: dict[str, tuple[float, int]], queries: dict[str, tuple[float, int]]) -> None:
    one = request(items, queries)
    now = 50_000  # any time will do
    total = np.zeros(DIMENSION)
    for item, (weight, time_ms) in items.items():
        if item != "unknown":
            total += weight * 2 ** (-(now - time_ms) / HALF_LIFE_MS) * vector_of(item)
    for text, (weight, time_ms) in queries.items():
        if text in QUERIES:
            total += weight * 2 ** (-(now - time_ms) / HALF_LIFE_MS) * QUERIES[text]
    norm = np.linalg.norm(total)
    expected = total / norm if norm else total
    assert embedded(one).vector == pytest.approx(expected, abs=1e-4)


@given(histories, st.sampled_from([None, "tea", "not encoded"]), st.floats(0, 1))
@pytest.mark.slow
def test_its_parts_add_up_to_it(items: dict[str, tuple[float, int]], query: str | None, blend: float) -> None:
    one = request(items, {"clock": (0.5, 0)}, query)
    embedding = embedded(one, blend)
    parts = embedding.parts(WORLD.matrix, scratch_for([one], DIMENSION))
    assert embedding.coefficients @ parts == pytest.approx(embedding.vector, abs=1e-5)
    assert len(parts) == len(embedding.coefficients) == len(embedding.event_types)
    norm = float(np.linalg.norm(embedding.vector))
    assert norm == pytest.approx(1.0, abs=1e-5) or norm == 0.0


def test_nothing_known_gives_the_zero_vector() -> None:
    for one in (request({}), request({"unknown": (1.0, 0)}), request({}, {"not encoded": (1.0, 0)}, "not encoded")):
        assert not embedded(one).vector.any()


def test_what_cancels_out_is_no_direction() -> None:
    twin = next(item for item in ITEMS if item != ITEMS[3])
    opposite = request({ITEMS[3]: (1.0, 0), twin: (1e-9, 0)}, {"tea": (-1.0, 0)})  # the query's vector is that item's
    assert not embedded(opposite).vector.any()


def test_a_search_blends_query_and_history() -> None:
    history = request({"i005": (1.0, 0)}, None, "tea")
    total = 0.7 * QUERIES["tea"].astype(np.float64) + 0.3 * vector_of("i005")
    assert embedded(history).vector == pytest.approx(total / np.linalg.norm(total), abs=1e-5)
    assert embedded(history, blend=1.0).vector == pytest.approx(QUERIES["tea"], abs=1e-5)
    assert embedded(history, blend=0.0).vector == pytest.approx(vector_of("i005"), abs=1e-5)


def test_a_search_without_history_is_the_query_alone() -> None:
    assert embedded(request({}, None, "tea"), blend=0.0).vector == pytest.approx(QUERIES["tea"], abs=1e-6)


def test_ancient_histories_keep_their_direction() -> None:
    ages = request({"i001": (1.0, 0), "i002": (1.0, 1000)})
    then = request({"i001": (1.0, -(10**12)), "i002": (1.0, 1000 - 10**12)})
    assert (embedded(ages).vector == embedded(then).vector).all()
    assert math.isclose(float(np.linalg.norm(embedded(then).vector)), 1.0, abs_tol=1e-5)


@settings(max_examples=30)
@given(st.lists(histories, min_size=2, max_size=6))
def test_shoppers_share_the_room_without_mixing(several: list[dict[str, tuple[float, int]]]) -> None:
    requests = [request(items) for items in several]
    scratch = scratch_for(requests, DIMENSION)
    together = [embed(one, WORLD.matrix, {}, scratch, half_life_ms=HALF_LIFE_MS, blend=0.5).vector for one in requests]
    for one, vector in zip(requests, together, strict=True):
        assert (embedded(one, 0.5).vector == vector).all()
