"""Fitting a ranker to a shop's past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.learned.features import FEATURES
from streams.ranking.learned.model import Ranker
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.ranking import rank
from streams.ranking.request import Request
from streams.serde.records import TrainingPair
from streams.training.evaluation.metrics import discounts
from streams.training.learned import fit as fit_module
from streams.training.learned.ease import fit_ease, fit_related
from streams.training.learned.fit import ADDITIVE, Fitted, RankerRule, fit_ranker, fitted_to
from streams.training.learned.lists import Lists, make_lists
from streams.training.learned.local_ease import LocalRule, fit_local
from streams.training.learned.logistic import logistic
from streams.training.learned.ndcg import ndcg, taken
from streams.training.learned.past import Interactions, PastShop
from tests.support.grouped_shop import DAY_MS, RULES, bought, clicks_of_one, group_of, matrix, purchases, searches
from tests.support.profile_harness import START_MS

SHOPPERS = 150
RULE = RankerRule(moments=3, threads=1, least_lists=50)


def fitted(pairs: Sequence[TrainingPair], rule: RankerRule = RULE, *, exclude_seen: bool = True) -> Fitted | None:
    return fit_ranker(PastShop(pairs, RULES, exclude_seen=exclude_seen), matrix(), RULES, rule)


@cache
def usual() -> Fitted:
    found = fitted(purchases(SHOPPERS))
    assert found is not None
    return found


def held_out() -> tuple[PastShop, int]:
    """The same shoppers a while later: another draw of what they do, after the end of what was fitted to."""
    learnt = purchases(SHOPPERS)
    later = purchases(SHOPPERS, visits=1, seed=9)
    moment = max(pair["occurred_at"] for pair in learnt) + 1
    shifted = [bought(pair["pseudonym"], pair["item_id"], pair["occurred_at"] + 61 * DAY_MS) for pair in later]
    past = PastShop([*learnt, *shifted], RULES, exclude_seen=True)
    past.advance(moment)
    return past, moment


def top_tens(ranker: Ranker) -> list[list[str]]:
    """What each shopper is recommended at the end of the usual past."""
    past, moment = held_out()
    requests = [one.request for one in past.wanted(moment, past.end_ms, 1000)]
    rules = RULES.__class__(**{name: getattr(RULES, name) for name in RULES.__slots__} | {"threshold": -1e9, "top_k": 10})
    return [one.items for one in rank(requests, matrix(), past.popularity(), {}, rules, past.together(moment), ranker)]


@pytest.mark.slow
def test_it_beats_the_sum_on_lists_that_it_never_saw() -> None:
    past, moment = held_out()
    ranker = usual().ranker
    wanted = past.wanted(moment, past.end_ms, 1000)
    lists = make_lists(wanted, matrix(), past.popularity(), past.together(moment), ranker.related, RULES)
    assert len(lists.sizes) > 100
    by_ranker, by_sum = ndcg(lists, ranker.scores(lists.levels), 10).mean(), ndcg(lists, lists.summed.astype(float), 10).mean()
    assert by_ranker > by_sum + 0.15
    said = usual().validation
    assert by_ranker == pytest.approx(said[usual().shape], abs=0.12), "as well as it was said to be"
    assert by_sum == pytest.approx(said["sum"], abs=0.12)


@pytest.mark.parametrize("of_use", [True, False])
@pytest.mark.slow
def test_searches_are_learnt_from_where_that_answers_them_better(of_use: bool) -> None:
    rules = replace(RULES, match_weight=0.01)
    past = PastShop([*purchases(SHOPPERS), *searches(SHOPPERS, 12, of_use=of_use)], rules, exclude_seen=False)
    found = fit_ranker(past, matrix(), rules, RULE)
    assert found is not None
    assert found.ranker.searches is of_use
    if of_use:
        assert found.validation["searches"] > found.validation["searches, sum"] + 0.3
    assert found.beats_the_sum, "other answers stay good"
    request = Request([], [], [], "word33", [], past.end_ms)
    (answer,) = rank([request], matrix(), past.popularity(), {}, rules, past.together(past.end_ms), found.ranker)
    assert (answer.judged is not None) is of_use
    assert answer.items[0] == "g33" or not of_use


@pytest.mark.slow
def test_few_searches_are_left_to_the_sum() -> None:
    past = PastShop([*purchases(SHOPPERS), *searches(10)], RULES, exclude_seen=False)
    found = fit_ranker(past, matrix(), RULES, RULE)
    assert found is not None
    assert not found.ranker.searches and "searches" not in found.validation


def test_its_lists_are_what_is_served() -> None:
    past, moment = held_out()
    wanted = past.wanted(moment, past.end_ms, 1000)
    ranker = usual().ranker
    lists = make_lists(wanted, matrix(), past.popularity(), past.together(moment), ranker.related, RULES)
    answers = top_tens(ranker)
    assert len(answers) == len(lists.sizes)
    hits = [len(set(items) & set(one.grades)) for items, one in zip(answers, wanted, strict=True)]
    best = np.lexsort((-ranker.scores(lists.levels), lists.owners))
    begins = np.concatenate(([0], np.cumsum(lists.sizes)))
    assert hits == [int((lists.labels[best[begin : begin + 10]] > 0).sum()) for begin in begins[:-1].tolist()]
    assert lists.wanted.tolist() == [len(one.grades) for one in wanted]


@pytest.mark.slow
def test_of_a_large_catalogue_items_are_solved_for_by_themselves_at_every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []

    def told(known: Interactions, *, shoppers: int, local: bool) -> RelatedItems:
        ways.append(local)
        return fit_related(known, shoppers=shoppers, local=local)

    monkeypatch.setattr(fit_module, "fit_related", told)
    monkeypatch.setattr(fit_module, "MOST_ITEMS", 10)
    found = fitted(purchases(SHOPPERS))
    assert found is not None
    assert ways == [True] * (RULE.moments + 1)
    assert found.validation[found.shape] > found.validation["sum"] + 0.1
    past = PastShop(purchases(SHOPPERS), RULES, exclude_seen=True)
    past.advance(past.end_ms)
    expected = fit_local(past.interactions(past.end_ms), LocalRule(), shoppers=RULES.together.shoppers)
    for left, right in zip(found.ranker.related.neighbours, expected.neighbours, strict=True):
        np.testing.assert_array_equal(left, right)


def test_lists_in_which_nothing_was_taken_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing was taken in any list"):
        fitted_to([lists_of([[0, 0]], [1])], ADDITIVE, RULE, nothing_related(), 30.0)


def test_shoppers_get_their_groups() -> None:
    past, moment = held_out()
    shoppers = [int(one.shopper.split()[1]) for one in past.wanted(moment, past.end_ms, 1000)]
    own = [
        sum(group_of(item) == shopper % 6 for item in items[:3]) / 3
        for shopper, items in zip(shoppers, top_tens(usual().ranker), strict=True)
    ]
    assert float(np.mean(own)) > 0.8


@pytest.mark.slow
def test_two_fits_are_equal() -> None:
    again = fitted(purchases(SHOPPERS))
    assert again is not None
    one, other = usual().ranker, again.ranker
    assert (one.base, one.slope, one.intercept) == (other.base, other.slope, other.intercept)
    ours, theirs = ((r.tables, *r.forest, *r.related.neighbours) for r in (one, other))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))
    assert usual().validation == again.validation


def test_scores_are_on_the_sums_scale_and_probabilities_on_that_of_what_is_taken() -> None:
    past, moment = held_out()
    ranker = usual().ranker
    lists = make_lists(past.wanted(moment, past.end_ms, 1000), matrix(), past.popularity(), past.together(moment), ranker.related, RULES)
    scores = ranker.scores(lists.levels)
    best = np.concatenate([np.flatnonzero(lists.owners == n)[np.argsort(-scores[lists.owners == n])[:10]] for n in range(len(lists.sizes))])
    top_sums = np.concatenate([np.sort(lists.summed[lists.owners == n])[-10:] for n in range(len(lists.sizes))])
    assert scores[best].mean() == pytest.approx(top_sums.mean(), abs=float(top_sums.std()))
    assert ranker.slope > 0
    assert ranker.probability(scores[best]).mean() == pytest.approx((lists.labels[best] > 0).mean(), abs=0.05)


@pytest.mark.parametrize(
    ("pairs", "exclude_seen"),
    [([], True), (purchases(10), True), (purchases(60, items=1), True), (purchases(60, items=1), False)],
    ids=["nothing", "ten shoppers", "one item", "one item again and again"],
)
def test_too_little_gives_no_ranker(pairs: list[TrainingPair], exclude_seen: bool) -> None:
    assert fitted(pairs, exclude_seen=exclude_seen) is None
    assert fitted(pairs, RankerRule(threads=1), exclude_seen=exclude_seen) is None


def test_clicks_on_one_item_can_be_fitted_to_without_a_failure() -> None:
    pairs = [bought(f"s{shopper}", "g00", START_MS + n * DAY_MS + shopper, "click") for shopper in range(80) for n in range(6)]
    found = fitted(pairs, exclude_seen=False)
    assert found is not None
    assert not found.ranker.shares(np.zeros((1, len(FEATURES)), np.uint8))[0, :-1].any() or found.validation["additive"] > 0.9


def test_a_last_moment_after_which_nobody_known_comes_back_validates_nothing() -> None:
    early = purchases(SHOPPERS)
    end = max(pair["occurred_at"] for pair in early)
    # The last third are purchases of shoppers who come once.
    late = [bought(f"new {n}", f"g{n % 60:02d}", end + 1000 * (n + 1)) for n in range(len(early) // 2)]
    past = PastShop([*early, *late], RULES, exclude_seen=True)
    moments = past.moments(RULE.moments, RULE.first, RULE.last)
    past.advance(moments[-1])
    assert moments[-1] > end and past.wanted(moments[-1], past.end_ms, 1000) == []
    assert fitted([*early, *late]) is None


def test_thousands_of_clicks_at_the_end_do_not_draw_the_moments_there() -> None:
    honest = purchases(SHOPPERS)
    end = max(pair["occurred_at"] for pair in honest)
    clicks = [bought("attacker", "g07", end + 1000 * n, "click") for n in range(5000)]
    plain, attacked = (PastShop(pairs, RULES, exclude_seen=True).moments(7, 0.55, 0.94) for pairs in (honest, [*honest, *clicks]))
    assert max(abs(one - other) for one, other in zip(plain, attacked, strict=True)) < 2 * DAY_MS


@pytest.mark.parametrize("spread", ["all the time", "a burst in the middle"])
@pytest.mark.slow
def test_one_shopper_who_clicks_thousands_of_times_hardly_changes_what_others_get(spread: str) -> None:
    item, count = "g07", 3000
    every = 60 * DAY_MS // count if spread == "all the time" else 1000
    first = START_MS if spread == "all the time" else START_MS + 20 * DAY_MS
    attacked = fitted([*purchases(SHOPPERS), *clicks_of_one(item, count, first, every)])
    assert attacked is not None
    before, after = top_tens(usual().ranker), top_tens(attacked.ranker)
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(before, after, strict=True)])
    shown = [np.mean([item in items for items in answers]) for answers in (before, after)]
    assert kept > 0.7
    assert abs(shown[1] - shown[0]) < 0.15


@settings(max_examples=20)
@given(st.floats(0.3, 3), st.floats(-3, 1), st.floats(-5, 5), st.floats(0.5, 2), st.integers(0, 99))
def test_logistic_finds_the_slope_and_intercept(slope: float, intercept: float, middle: float, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(middle, spread, 60_000)
    chance = 1 / (1 + np.exp(-(slope * (scores - middle) + intercept)))
    found = logistic(scores, rng.random(60_000) < chance)
    assert found[0] == pytest.approx(slope, abs=0.15)
    assert found[0] * middle + found[1] == pytest.approx(intercept, abs=0.15)


@pytest.mark.parametrize(
    "hits",
    [np.zeros(50, np.bool_), np.ones(50, np.bool_), np.arange(50) >= 25, np.arange(50) < 25, np.arange(50) < 10, np.arange(50) == 49],
)
def test_logistic_is_finite_and_never_falls(hits: np.ndarray) -> None:
    slope, intercept = logistic(np.linspace(0, 1, 50), hits)
    assert np.isfinite([slope, intercept]).all() and slope >= 0
    chance = 1 / (1 + np.exp(-(slope * np.linspace(0, 1, 50) + intercept)))
    assert chance.mean() == pytest.approx(hits.mean(), abs=0.05)
    assert chance.min() > 0 and chance.max() < 1


def test_logistic_of_one_score_apart_does_not_run_away() -> None:
    scores = np.where(np.arange(2000) % 200 == 0, 1.72, 0.4)
    slope, intercept = logistic(scores, scores > 1)
    high, low = (1 / (1 + np.exp(-(slope * score + intercept))) for score in (1.72, 0.4))
    assert high == pytest.approx(11 / 12, abs=0.01)
    assert low == pytest.approx(1 / 1992, abs=1e-4)


def test_logistic_of_equal_scores_is_their_rate() -> None:
    slope, intercept = logistic(np.full(100, 2.5), np.arange(100) < 20)
    assert 1 / (1 + np.exp(-(slope * 2.5 + intercept))) == pytest.approx(0.2, abs=0.01)


def lists_of(labels: Sequence[Sequence[int]], wanted: Sequence[int]) -> Lists:
    sizes = np.array([len(own) for own in labels])
    count = int(sizes.sum())
    flat = np.array([label for own in labels for label in own], np.int8)
    return Lists(
        np.zeros((count, len(FEATURES)), np.uint8),
        flat,
        sizes,
        np.zeros(count, np.int64),
        np.array(wanted),
        np.zeros(count, np.float32),
        {},
    )


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 999))
def test_ndcg_is_that_of_each_list(labels: list[list[int]], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = [rng.permutation(len(own)).astype(float) for own in labels]
    more = rng.integers(1, 4, len(labels))
    wanted = [sum(label > 0 for label in own) + int(extra) for own, extra in zip(labels, more, strict=True)]
    lists = lists_of(labels, wanted)
    assert taken(lists).tolist() == [sum(label > 0 for label in own) for own in labels]
    found = ndcg(lists, np.concatenate(scores), count)
    gains = discounts(count)
    for own, order, all_of, value in zip(labels, scores, wanted, found.tolist(), strict=True):
        ranked = [own[place] > 0 for place in np.argsort(-order)][:count]
        assert value == pytest.approx(sum(g for g, hit in zip(gains, ranked, strict=False) if hit) / sum(gains[:all_of]))


def test_what_no_source_found_counts_as_missed() -> None:
    assert ndcg(lists_of([[1, 0]], [2]), np.array([2.0, 1.0]), 10)[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_lists_say_which_source_found_what() -> None:
    past, moment = held_out()
    related = fit_ease(past.interactions(moment), shoppers=RULES.together.shoppers)
    wanted = past.wanted(moment, past.end_ms, 1000)
    lists = make_lists(wanted, matrix(), past.popularity(), past.together(moment), related, RULES)
    total = int(lists.wanted.sum())
    assert lists.found["all"] == pytest.approx(int(taken(lists).sum()) / total)
    assert lists.found["all"] >= max(share for source, share in lists.found.items() if source != "all")
    assert lists.found["match"] == 0.0
    assert lists.found["related"] > 0.5, "shoppers buy within groups"
