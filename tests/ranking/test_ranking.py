from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.request import Entry, Ranked, Request
from streams.ranking.select import ScorePairs, best, cosines, margin, propose
from streams.topics import ITEMS_POPULARITY, ITEMS_VECTORS
from tests.support.profile_harness import CODECS, START_MS, VERSION, vector_record
from tests.support.profile_harness import popularity_record as counted
from tests.support.rules import profile_rules

WIDE = 384


@cache
def wide_shop() -> tuple[ItemMatrix, PopularityTable]:
    """Items of a real model's width, many of them near or exact copies of each other."""
    rng = np.random.default_rng(5)
    base = rng.standard_normal((120, WIDE)).astype(np.float32)
    vectors = np.concatenate([base, base, base + 1e-6 * rng.standard_normal(base.shape).astype(np.float32)])
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDE)
    matrix.apply([vector_record(f"w{n:03d}", vector, recommendable=n % 11 != 0) for n, vector in enumerate(vectors)])
    popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), 5 * 86_400_000)
    popularity.apply([counted(f"w{n:03d}", float(n % 7), START_MS, n) for n in range(0, 360, 3)])
    return matrix, popularity


def wide_request(seed: int) -> Request:
    rng = np.random.default_rng(seed)
    items = [f"w{n:03d}" for n in rng.choice(360, rng.integers(0, 20), replace=False)]
    entries = [Entry(float(weight), START_MS - int(rng.integers(10**9)), 0) for weight in rng.random(len(items)) + 0.1]
    return Request(items, entries, [], None, items[:3], START_MS + int(rng.integers(10**10)))


def same(a: Ranked, b: Ranked) -> bool:
    arrays = ((a.scores, b.scores), (a.reasons, b.reasons), (a.shares, b.shares))
    return a.items == b.items and a.sources == b.sources and all(x.tobytes() == y.tobytes() for x, y in arrays)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=24), st.integers(1, 30))
def test_an_answer_does_not_depend_on_who_else_asks(seeds: list[int], top_k: int) -> None:
    matrix, popularity = wide_shop()
    rules = profile_rules(threshold=-1.0, top_k=top_k)
    requests = [wide_request(seed) for seed in seeds]
    together = rank(requests, matrix, popularity, {}, rules)
    for request, answer in zip(requests, together, strict=True):
        assert same(answer, rank([request], matrix, popularity, {}, rules)[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 400), st.sampled_from((-1.0, 0.1, 0.3, 2.0)))
def test_it_is_the_exhaustive_ranking(seed: int, top_k: int, threshold: float) -> None:
    matrix, popularity = wide_shop()
    rules = profile_rules(threshold=threshold, top_k=top_k)
    request = wide_request(seed)
    answer = rank([request], matrix, popularity, {}, rules)[0]
    weights = np.array([e.weight * 2.0 ** (-(START_MS - e.time_ms) / rules.half_life_ms) for e in request.item_entries])
    vectors = matrix.vectors.astype(np.float64)
    user = weights @ vectors[[matrix.rows[item] for item in request.items]] if request.items else np.zeros(WIDE)
    user /= np.linalg.norm(user) or 1.0
    counts = popularity.counts(matrix, popularity.cell(request.at_ms))
    truth = {
        item: float(vectors[row] @ user) + rules.popularity_weight * np.log1p(counts[row])
        for item, row in matrix.rows.items()
        if matrix.recommendable[row] and item not in request.excluded
    }
    found = answer.scores.astype(np.float64).sum(axis=1)
    assert found == pytest.approx([truth[item] for item in answer.items], abs=2e-6)
    order = [(-total, item) for total, item in zip(found, answer.items, strict=True)]
    assert order == sorted(order)
    expected = sorted((score for score in truth.values() if score > threshold), reverse=True)[:top_k]
    clear = [score for score in expected if abs(score - threshold) > 1e-5]
    assert len(answer.items) >= len(clear)
    assert found[: len(clear)] == pytest.approx(clear, abs=2e-6)


def test_equal_scores_are_ordered_by_item_id() -> None:
    matrix, popularity = wide_shop()
    rules = profile_rules(threshold=0.0, top_k=5, popularity_weight=0.0)
    request = Request(["w003"], [Entry(1.0, START_MS, 0)], [], None, [], START_MS)
    answer = rank([request], matrix, popularity, {}, rules)[0]
    one, copy = answer.items.index("w003"), answer.items.index("w123")
    assert answer.scores[one].tolist() == answer.scores[copy].tolist()
    assert copy == one + 1


def test_an_empty_catalogue_gives_empty_answers() -> None:
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDE)
    popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), 1000.0)
    assert rank([], matrix, popularity, {}, profile_rules()) == []
    answers = rank([wide_request(1), wide_request(2)], matrix, popularity, {}, profile_rules(threshold=-5.0))
    assert [answer.items for answer in answers] == [[], []]


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, popularity = wide_shop()
    requests = [wide_request(seed) for seed in range(7)]
    whole = rank(requests, matrix, popularity, {}, profile_rules())
    monkeypatch.setattr("streams.ranking.ranking._CHUNK", 2 * len(matrix.ids))
    chunked = rank(requests, matrix, popularity, {}, profile_rules())
    assert all(same(a, b) for a, b in zip(whole, chunked, strict=True))


@given(st.integers(1, 1024), st.integers(0, 1000))
def test_the_margin_covers_every_order_of_addition(dimension: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, dimension)).astype(np.float32)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    one_by_one = np.float32(0)
    for x, y in zip(a[::-1], b[::-1], strict=True):
        one_by_one += x * y
    pairwise = cosines(a[None], b[None], ScorePairs(np.array([0]), np.array([0])))[0]
    assert abs(float(one_by_one) - float(pairwise)) < margin(dimension) / 2


@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 40), st.integers(0, 999), st.floats(0, 0.2))
def test_proposals_hold_all_that_could_be_chosen(users: int, rows: int, count: int, seed: int, slack: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((users, rows)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    truth = scores + rng.uniform(-slack / 2, slack / 2, scores.shape).astype(np.float32) * np.float32(0.99)
    pairs = propose(scores, count, 0.3, slack + 1e-6)
    proposed = set(zip(pairs.users.tolist(), pairs.rows.tolist(), strict=True))
    for user in range(users):
        wanted = [row for row in np.argsort(-truth[user])[:count].tolist() if truth[user, row] > 0.3]
        assert {(user, row) for row in wanted} <= proposed
    assert not any(np.isneginf(scores[user, row]) for user, row in proposed)


def test_best_counts_each_user_by_herself() -> None:
    pairs = ScorePairs(np.array([0, 0, 0, 2]), np.array([0, 1, 2, 0]))
    scores = np.array([[0.5, 0.0], [0.2, 0.3], [0.5, 0.1], [0.1, 0.0]], np.float32)
    chosen = best(pairs, scores, ["b", "a", "c"], users=3, count=2, threshold=0.1)
    # The last one's 0.1 is a float32, which is above 0.1.
    assert (chosen.places.tolist(), chosen.starts, chosen.counts) == ([2, 1, 3], [0, 2, 2], [2, 0, 1])
