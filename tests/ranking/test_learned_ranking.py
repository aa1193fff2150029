"""Answers by a ranker: exact, of one shopper alone, and with reasons that add up; as they are kept and published too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned.features import FEATURES, LEVELS, PLACE
from streams.ranking.learned.model import Ranker
from streams.ranking.learned.reasons import GROUPS
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import Ranking, rank
from streams.ranking.request import Entry, Ranked, Request
from streams.ranking.rules import DISMISS, PURCHASE, ProfileRules
from streams.ranking.together_table import Neighbours, TogetherTable
from streams.stages.profile.profile import pack_issued, unpack_issued
from streams.stages.profile.recommendation import make, to_record
from streams.stages.profile.recommendation_writer import RecommendationWriter
from streams.topics import ITEMS_TOGETHER, ITEMS_VECTORS, RECOMMENDATIONS
from tests.support.learned_shop import ITEMS, QUERIES, RULES, WIDTH, additive_ranker, forest_ranker, rankers, request_of, shop
from tests.support.profile_harness import CODECS, START_MS, VERSION, event

CODEC = CODECS.for_topic(RECOMMENDATIONS)
seeds = st.integers(0, 10_000)


def answers(requests: list[Request], ranker: Ranker, rules: ProfileRules = RULES) -> list[Ranked]:
    matrix, popularity, together, _ = shop()
    return rank(requests, matrix, popularity, QUERIES, rules, together, ranker)


def same(a: Ranked, b: Ranked) -> bool:
    arrays = ((a.scores, b.scores), (a.reasons, b.reasons), (a.shares, b.shares), (a.judged, b.judged))
    return a.items == b.items and a.sources == b.sources and all(x.tobytes() == y.tobytes() for x, y in arrays)  # type: ignore[union-attr]


def score(answer: Ranked) -> Any:
    assert answer.judged is not None
    return answer.judged[:, 0]


@settings(max_examples=20)
@given(st.lists(seeds, min_size=2, max_size=12), seeds, st.integers(1, 30))
@pytest.mark.slow
def test_an_answer_does_not_depend_on_who_else_asks(asking: list[int], seed: int, top_k: int) -> None:
    requests, rules = [request_of(one) for one in asking], replace(RULES, top_k=top_k)
    for ranker in rankers(seed):
        for request, answer in zip(requests, answers(requests, ranker, rules), strict=True):
            assert same(answer, answers([request], ranker, rules)[0])


def test_a_shopper_whose_items_have_very_many_equal_neighbours_takes_nothing_from_others() -> None:
    # What the first bought, everybody bought with everything; of the second's purchase there is one pair.
    matrix, popularity, _, _ = shop()
    together = TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), RULES.together.half_life_ms)
    together.put(0, ITEMS[0], 10.0, dict.fromkeys(ITEMS[20:83], 4.0), as_of_ms=START_MS, source_offset=1)
    together.put(0, ITEMS[1], 10.0, {ITEMS[140]: 4.0}, as_of_ms=START_MS, source_offset=2)
    together.refresh()
    tables = np.zeros((len(FEATURES), LEVELS), np.float32)
    tables[2] = np.arange(LEVELS)
    ranker = replace(additive_ranker(1, nothing_related()), tables=tables)
    requests = [Request([ITEMS[n]], [Entry(1.0, START_MS, PURCHASE)], [], None, [ITEMS[n]], START_MS) for n in (0, 0, 0, 1)]
    whole = rank(requests, matrix, popularity, {}, RULES, together, ranker)
    for request, answer in zip(requests, whole, strict=True):
        assert same(answer, rank([request], matrix, popularity, {}, RULES, together, ranker)[0])
    assert whole[-1].items[0] == ITEMS[140]


@settings(max_examples=40)
@given(seeds, seeds, st.integers(1, 400), st.sampled_from((-100.0, -0.5, 0.0, 0.7, 100.0)))
@pytest.mark.slow
def test_it_is_sorted_and_bounded_and_holds_nothing_that_it_must_not(seed: int, asking: int, top_k: int, threshold: float) -> None:
    request, matrix = request_of(asking), shop().matrix
    for ranker in rankers(seed):
        whole = answers([request], ranker, replace(RULES, top_k=1000))[0]
        answer = answers([request], ranker, replace(RULES, top_k=top_k, threshold=threshold))[0]
        order = [(-value, item) for value, item in zip(score(answer), answer.items, strict=True)]
        assert order == sorted(order)
        assert not set(answer.items) & set(request.excluded)
        assert all(matrix.recommendable[matrix.rows[item]] for item in answer.items)
        expected = [item for item, value in zip(whole.items, score(whole), strict=True) if value > threshold][:top_k]
        assert answer.items == expected
        assert answer.judged is not None
        # The probability follows from the score alone, and grows with it.
        assert answer.judged[:, 1] == pytest.approx(1 / (1 + np.exp(-(ranker.slope * score(answer) + ranker.intercept))))


@settings(max_examples=40)
@given(seeds, seeds, st.integers(1, 40))
@pytest.mark.slow
def test_reasons_add_up_to_the_score(seed: int, asking: int, most: int) -> None:
    request = request_of(asking)
    for ranker in rankers(seed):
        answer = answers([request], ranker, replace(RULES, reasons_max=most))[0]
        assert answer.items
        assert answer.shares.sum(axis=1, dtype=np.float64) == pytest.approx(score(answer), abs=1e-6)
        shown = answer.shares[:, :-1]
        assert (np.diff(shown, axis=1) <= 0).all(), "largest first"
        assert {answer.sources[place].kind for place in answer.reasons[:, -1].tolist()} == {"other"}
        kinds = {source.kind for source in answer.sources}
        assert kinds <= {"item", "query", "together", "other", *GROUPS}
        named = {source.item_id for source in answer.sources if source.item_id is not None}
        assert named <= set(request.items) & set(ITEMS)


def test_every_reason_but_the_last_is_one_that_was_asked_for() -> None:
    asking = [
        seed for seed in range(40) if request_of(seed).queries and any(e.event_type == DISMISS for e in request_of(seed).item_entries)
    ]
    assert len(asking) > 5, "queries and dismissals are among the histories"
    for seed in asking:
        answer = answers([request_of(seed)], forest_ranker(seed, shop().related), replace(RULES, reasons_max=3))[0]
        assert answer.shares.shape == (len(answer.items), 4)


def test_all_shares_are_told_when_enough_reasons_are_asked_for() -> None:
    request = request_of(5)
    for ranker in rankers(3):
        answer = answers([request], ranker, replace(RULES, reasons_max=500))[0]
        base = answer.shares[:, -1]
        # What remains for the last is what the ranker says about any item: the same for all.
        assert base == pytest.approx(np.full(len(base), base[0]), abs=1e-5)


def test_what_was_disliked_speaks_for_nothing() -> None:
    request = Request(
        [ITEMS[30], ITEMS[31]], [Entry(-0.5, START_MS, DISMISS), Entry(1.0, START_MS, PURCHASE)], [], None, [ITEMS[30]], START_MS
    )
    answer = answers([request], additive_ranker(4, shop().related), replace(RULES, top_k=60, reasons_max=50))[0]
    for place, source in enumerate(answer.sources):
        if source.item_id == ITEMS[30] and source.kind == "together":
            assert not answer.shares[answer.reasons == place].any()
    assert any(source.item_id == ITEMS[31] for source in answer.sources)


def test_without_reasons_none_are_made() -> None:
    for ranker in rankers(1):
        answer = answers([request_of(5)], ranker, replace(RULES, reasons_max=0))[0]
        assert answer.items
        assert (answer.sources, answer.reasons.shape, answer.shares.shape) == ([], (len(answer.items), 0), (len(answer.items), 0))
        assert same(replace_reasons(answers([request_of(5)], ranker)[0]), answer)


def replace_reasons(answer: Ranked) -> Ranked:
    none = np.zeros((len(answer.items), 0))
    return Ranked(answer.items, answer.scores, [], none.astype(np.uint16), none.astype(np.float32), answer.judged)


def test_shares_of_popularity_pairs_and_words_are_kept_beside_the_cosine() -> None:
    request = request_of(5)
    ranker = additive_ranker(6, shop().related)
    answer = answers([request], ranker, replace(RULES, reasons_max=500))[0]
    for item in range(len(answer.items)):
        told = {kind: 0.0 for kind in ("popularity", "pairs", "match", "together")}
        for place, share in zip(answer.reasons[item].tolist(), answer.shares[item].tolist(), strict=True):
            kind = answer.sources[place].kind
            if kind in told:
                told[kind] += share
        parts = [told["popularity"], told["pairs"] + told["together"], told["match"]]
        assert answer.scores[item, 1:].tolist() == pytest.approx(parts, abs=1e-5)


def test_items_of_an_earlier_answer_are_left_out_when_told_so() -> None:
    matrix, popularity, together, related = shop()
    request, ranker = request_of(5), additive_ranker(2, related)
    whole = answers([request], ranker, replace(RULES, top_k=1000))[0]
    gone = [*request.excluded, *whole.items[:4]]
    ranking = Ranking([request, request], matrix, popularity, QUERIES, RULES, together, ranker)
    assert [one.items for one in ranking.answer(0, [request.excluded])] == [whole.items[: RULES.top_k]]
    assert [one.items for one in ranking.answer(1, [gone])] == [whole.items[4 : 4 + RULES.top_k]]


def test_a_ranker_that_knows_nothing_of_matches_leaves_searches_to_the_sum() -> None:
    additive, forest = rankers(3)
    tables = additive.tables.copy()
    tables[PLACE["match"]] = 0.0
    deaf = replace(additive, tables=tables)
    assert (deaf.searches, additive.searches, forest.searches) == (False, True, True)
    requests = [request_of(seed) for seed in range(12)]
    asked = [request.query is not None for request in requests]
    assert any(asked) and not all(asked)
    matrix, popularity, together, _ = shop()
    by_sum = rank(requests, matrix, popularity, QUERIES, RULES, together)
    for request, query, answer, summed in zip(requests, asked, answers(requests, deaf), by_sum, strict=True):
        assert (answer.judged is None) == query
        if query:
            assert (answer.items, answer.scores.tolist()) == (summed.items, summed.scores.tolist())
        else:
            assert same(answer, answers([request], deaf)[0])


def test_an_empty_catalogue_gives_empty_answers() -> None:
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
    together = TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), 1000.0)
    for ranker in rankers(1):
        found = rank([request_of(1), request_of(2)], matrix, PopularityTable(None, 1000.0), QUERIES, RULES, together, ranker)
        assert [(one.items, one.shares.shape[0]) for one in found] == [([], 0), ([], 0)]


def test_a_ranker_of_items_that_the_shop_does_not_have_serves() -> None:
    strangers = RelatedItems(["x", "y"], Neighbours(np.array([0, 1, 2]), np.array([1, 0]), np.ones(2, np.float32)))
    answer = answers([request_of(5)], additive_ranker(1, strangers))[0]
    assert same(answer, answers([request_of(5)], additive_ranker(1, nothing_related()))[0])


@settings(max_examples=30)
@given(seeds, seeds, st.integers(0, 6))
@pytest.mark.slow
def test_score_probability_and_reasons_reach_the_record(seed: int, asking: int, most: int) -> None:
    rules, one = replace(RULES, reasons_max=most), event(asking, "a", "click", "s001")
    writer = RecommendationWriter(CODEC)
    assert writer.direct
    for ranker in rankers(seed):
        answer = answers([request_of(asking)], ranker, rules)[0]
        issued = make(one, 7, "behaviour", answer, model_version="v", rules=rules)  # type: ignore[arg-type]
        assert unpack_issued(pack_issued(issued)) == issued, "a redo gives the same"
        record = to_record(issued, one)  # type: ignore[arg-type]
        assert writer.encode(issued, one) == CODEC.encode(record)  # type: ignore[arg-type]
        read = CODEC.decode(CODEC.encode(record))
        assert answer.judged is not None
        assert [[item["score"], item["probability"]] for item in read["items"]] == answer.judged.tolist()
        for item in read["items"] if most else []:
            assert sum(reason["share"] for reason in item["reasons"]) == pytest.approx(item["score"], abs=1e-6)
        if not most:
            assert not any(item["reasons"] for item in read["items"])


def test_without_a_ranker_there_is_no_probability() -> None:
    matrix, popularity, together, _ = shop()
    answer = rank([request_of(5)], matrix, popularity, QUERIES, RULES, together)[0]
    issued = make(event(1, "a", "click", "s001"), 7, "behaviour", answer, model_version="v", rules=RULES)  # type: ignore[arg-type]
    record = to_record(issued, event(1, "a", "click", "s001"))  # type: ignore[arg-type]
    assert {item["probability"] for item in record["items"]} == {None}
    for item, numbers in zip(record["items"], answer.scores.tolist(), strict=True):
        assert item["score"] == pytest.approx(sum(numbers), abs=1e-6)
