"""Which items a ranker looks at."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.embedding import embed, scratch_for
from streams.ranking.learned.batch import Pairs
from streams.ranking.learned.candidates import MOST, SOURCES, ForAll, for_all, most_similar, union
from streams.ranking.learned.scoring import Candidates, candidates
from streams.ranking.popularity import prior
from streams.ranking.request import Entry, Request
from streams.ranking.rules import PURCHASE
from streams.ranking.select import exclude, margin, masked_rows, propose
from streams.ranking.together_table import NOTHING, Together
from tests.support.learned_shop import ITEMS, QUERIES, RULES, request_of, shop
from tests.support.profile_harness import START_MS


def found_for(requests: list[Request]) -> Candidates:
    """As ``rank`` finds them, without a scan."""
    matrix, popularity, together, related = shop()
    scratch = scratch_for(requests, matrix.dimension)
    embeddings = [embed(r, matrix, QUERIES, scratch, half_life_ms=RULES.half_life_ms, blend=RULES.search_blend) for r in requests]
    users = np.stack([embedding.vector for embedding in embeddings])
    priors = np.stack([prior(popularity.counts(matrix, popularity.cell(r.at_ms)), RULES.popularity_weight) for r in requests])
    scores = users @ matrix.vectors.T + priors + masked_rows(matrix.recommendable)
    exclude(scores, [request.excluded for request in requests], matrix.rows)
    near = propose(scores, SOURCES["similar"], float("-inf"), margin(matrix.dimension))
    matches = [NOTHING if r.query is None else Together(*matrix.terms.match(r.query), np.zeros(0, np.int64)) for r in requests]
    own = priors[near.users, near.rows]
    session_ms = RULES.together.session_ms
    return candidates(requests, embeddings, users, near, own, matrix, popularity, together, related, matches, session_ms=session_ms)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
@pytest.mark.slow
def test_they_are_few_and_may_all_be_recommended(seeds: list[int]) -> None:
    requests, matrix = [request_of(seed) for seed in seeds], shop().matrix
    found = found_for(requests)
    assert set(found.sources) == set(SOURCES)
    for source, keys in found.sources.items():
        users, rows = np.divmod(keys, len(ITEMS))
        # Whether an item of equal strength is one more depends on nothing but the shopper; in this shop hardly any are equal.
        ties = 2 if source in ("similar", "related", "together", "session") else 1
        assert max(Counter(users.tolist()).values(), default=0) <= ties * SOURCES[source]
        assert len(set(keys.tolist())) == len(keys)
        assert matrix.recommendable[rows].all()
        for user, row in zip(users.tolist(), rows.tolist(), strict=True):
            assert matrix.ids[row] not in requests[user].excluded
    every = found.pairs.users * len(ITEMS) + found.pairs.rows
    assert sorted(set(np.concatenate(list(found.sources.values())).tolist())) == every.tolist()
    assert len(found.levels) == len(every) == len(found.cosines)


def test_each_source_brings_its_own_best() -> None:
    request = Request(
        ["s030", "s031"], [Entry(1.0, START_MS, PURCHASE), Entry(0.5, START_MS - 2 * 10**7, PURCHASE)], [], "lamp", [], START_MS
    )
    matrix, popularity, together, related = shop()
    found = {source: set(keys.tolist()) for source, keys in found_for([request]).sources.items()}
    rows, is_open = matrix.rows, matrix.recommendable
    named = {rows[item] for item in together.strengths("s030")} | {rows[item] for item in together.strengths("s031")}
    assert found["together"] <= named and len(found["together"]) == min(20, sum(is_open[row] for row in named))
    assert found["session"] == {row for item in together.strengths("s030") if is_open[row := rows[item]]}, "the older one was another visit"
    counts = popularity.counts(matrix, popularity.cell(START_MS))
    assert found["popular"] == set(np.argsort(-np.where(is_open, counts, -1))[: SOURCES["popular"]].tolist())
    first = {item: min(o.first_ms for p in range(2) if (o := popularity.latest(p, item))) for item in ITEMS[:75] if is_open[rows[item]]}
    assert found["new"] == {rows[item] for item in sorted(first, key=lambda item: -first[item])[: SOURCES["new"]]}
    words, scores = matrix.terms.match("lamp")
    strong = sorted(((-score, row) for row, score in zip(words.tolist(), scores.tolist(), strict=True) if is_open[row]))
    assert found["match"] == {row for _, row in strong[: SOURCES["match"]]}
    starts, others = related.neighbours.starts, related.neighbours.others
    numbers = [related.items.index(item) for item in request.items]
    places = {place for n in numbers for place in others[starts[n] : starts[n + 1]].tolist()}
    assert found["related"] <= {rows[related.items[place]] for place in places if related.items[place] in rows}


def test_nobody_gets_what_is_shut_to_her_although_it_is_popular() -> None:
    popular = [shop().matrix.ids[key] for key in found_for([Request([], [], [], None, [], START_MS)]).sources["popular"].tolist()]
    request = Request([], [], [], None, popular, START_MS)
    found = found_for([request]).sources["popular"]
    assert len(found) == SOURCES["popular"], "the next ones are looked at instead"
    assert not {shop().matrix.ids[row] for row in found.tolist()} & set(popular)


def test_what_rises_and_what_is_new() -> None:
    counts = np.zeros((40, 4))
    counts[:, 0], counts[:, 1], counts[:, 3] = 1.0, 1.0, np.arange(40) * 10.0
    counts[3, 1] = 0.0
    first = np.where(np.arange(40) % 2 == 0, np.arange(40) * 1000.0, np.nan)
    open_rows = np.arange(40) != 1
    found = for_all(counts, first, open_rows, [f"i{row}" for row in range(len(first))])
    assert found.rising.tolist() == [row for row in range(40) if row not in (1, 3)][: 4 * SOURCES["rising"]]
    assert found.new.tolist() == list(range(38, -1, -2))[: 4 * SOURCES["new"]]
    assert not {1, 3} & set(found.popular.tolist())


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=70), st.integers(0, 999))
def test_what_all_may_get_does_not_depend_on_the_order_of_rows(known: list[tuple[int, int]], seed: int) -> None:
    counts = np.array([[count, count, count, count] for count, _ in known], np.float64)
    first, ids = np.array([at for _, at in known], np.float64), np.array([f"i{n}" for n in range(len(known))])
    turn = np.random.default_rng(seed).permutation(len(known))
    every = np.ones(len(known), np.bool_)
    one, other = for_all(counts, first, every, ids.tolist()), for_all(counts[turn], first[turn], every, ids[turn].tolist())
    for ours, theirs in zip(one, other, strict=True):
        assert ids[ours].tolist() == ids[turn][theirs].tolist()


def test_an_empty_shop_has_no_candidates_for_all() -> None:
    found = for_all(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_), [])
    assert isinstance(found, ForAll)
    assert [len(rows) for rows in found] == [0, 0, 0]


totals_ = st.lists(st.lists(st.integers(0, 5).map(float), max_size=14), min_size=1, max_size=4)


@settings(max_examples=200)
@given(totals_, st.integers(1, 4))
@pytest.mark.slow
def test_the_most_similar_are_the_best_and_their_equals_unless_these_are_a_crowd(totals: list[list[float]], most: int) -> None:
    begins = np.concatenate(([0], np.cumsum([len(own) for own in totals]))).astype(np.int64)
    rows = np.concatenate([np.arange(len(own)) for own in totals]).astype(np.int64)
    found = most_similar(Pairs(begins, rows), np.array([total for own in totals for total in own], np.float64), most)
    for user, own in enumerate(totals):
        least = sorted(own, reverse=True)[most - 1] if len(own) >= most else float("-inf")
        kept = [row for row, total in enumerate(own) if total >= least]
        if len(kept) > 2 * most:
            kept = [row for row, total in enumerate(own) if total > least]
        assert found.rows[found.begins[user] : found.begins[user + 1]].tolist() == kept
        assert len(kept) <= 2 * most


@given(st.lists(st.lists(st.integers(0, 29), max_size=10), min_size=1, max_size=4))
def test_the_union_holds_each_pair_once(sources: list[list[int]]) -> None:
    keys: dict[str, npt.NDArray[np.int64]] = {str(n): np.array(own, np.int64) for n, own in enumerate(sources)}
    pairs = union(keys, 3, 10)
    expected = sorted({key for own in sources for key in own})
    assert (pairs.users * 10 + pairs.rows).tolist() == expected
    assert pairs.begins.tolist() == [sum(key < 10 * user for key in expected) for user in range(4)]


def test_the_sources_bound_the_candidates() -> None:
    found = found_for([request_of(seed) for seed in range(20)])
    assert np.diff(found.pairs.begins).max() <= MOST
    assert np.diff(found.pairs.begins).min() > 0
    assert found.cosines == pytest.approx(
        (found.batch.users[found.pairs.users] * shop().matrix.vectors[found.pairs.rows]).sum(axis=1), abs=1e-6
    )
