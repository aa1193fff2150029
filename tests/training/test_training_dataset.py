"""Pairs as cases by time, cases as examples; propensities; the data that models are judged on."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.training.cases import Seen, SplitRule, old_slice, propensities, split_by_time, without_exposure, without_unused_histories
from streams.training.dataset import training_set
from streams.training.evaluation.pairs import cases_of
from streams.training.evaluation_data import build_evaluation_data
from tests.support.rules import profile_rules
from tests.support.trainer_data import DAY_MS, START_MS, pair, shop_items, shop_pairs

RULE = SplitRule(profile_rules())
TEXTS = {item: facts.text for item, facts in shop_items().items()}

moments = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 9), st.sampled_from(["purchase", "click", "shown", "dismiss"])), min_size=1, max_size=30
)


@given(moments)
def test_lightened_pairs_give_the_same_cases(drawn: list[tuple[int, int, str]]) -> None:
    """Times in units of ten minutes, so that visits have several pairs."""
    pairs = [
        pair(n, "u", f"i{item}", at_ms=START_MS + at * 600_000, history=["i20", "i21"], outcome=outcome)
        for n, (at, item, outcome) in enumerate(drawn)
    ]
    assert cases_of(without_unused_histories(pairs)) == cases_of(pairs)


def test_slices_follow_one_another_in_time_and_the_old_one_is_not_trained_on() -> None:
    pairs = shop_pairs()
    old = old_slice(pairs)
    split = split_by_time(pairs, RULE, old)
    assert all(split[1:5])
    assert max(case.at_ms for case in split.train) < split.cuts.validation_from_ms <= min(case.at_ms for case in split.validation)
    assert max(case.at_ms for case in split.validation) < split.cuts.test_from_ms <= min(case.at_ms for case in split.test)
    assert not [case for case in split.train if old.holds(case.user, case.at_ms)]
    assert sum(map(len, split[1:5])) == len(cases_of(pairs))


def test_an_example_says_what_came_next_after_what() -> None:
    pairs = [
        pair(1, "u", "i3", history=["i1", "i2"]),
        pair(2, "u", "i4", outcome="click", rank=2),
        pair(3, "u", "i5", outcome="shown", rank=0),
        pair(4, "u", "i6", outcome="dismiss", rank=1),
        pair(5, "other", "i7", outcome="shown", rank=0),
        pair(6, "u", "gone", outcome="purchase"),
    ]
    data = training_set(cases_of(pairs), pairs, TEXTS, half_life_ms=DAY_MS, propensity={2: 0.25})
    numbers = {item: place for place, item in enumerate(TEXTS)}
    by_target = {example.target: example for example in data.examples}
    assert set(by_target) == {numbers["i3"], numbers["i4"]}, "an item that the catalogue lacks is nobody's target"
    bought, clicked = by_target[numbers["i3"]], by_target[numbers["i4"]]
    assert bought.history == (numbers["i1"], numbers["i2"])
    assert bought.history_weights == pytest.approx((0.25, 0.5))
    assert bought.weight > clicked.weight
    assert (bought.propensity, clicked.propensity) == (1.0, 0.25)
    assert set(bought.negatives) == {numbers["i5"], numbers["i6"]}
    assert data.item_counts.sum() == 2
    assert data.items.tolist() == list(range(len(TEXTS)))


@given(st.dictionaries(st.integers(0, 20), st.tuples(st.integers(0, 1000), st.floats(0, 1)), max_size=10))
def test_propensities_are_shares_bounded_below(drawn: dict[int, tuple[int, float]]) -> None:
    by_rank = {rank: Seen(count, int(count * share)) for rank, (count, share) in drawn.items()}
    found = propensities(by_rank)
    assert all(0.1 <= value <= 1 for value in found.values())
    assert set(found) == (set(by_rank) if sum(of.recommended for of in by_rank.values()) else set())


def test_places_that_are_seen_less_have_less_propensity_and_few_items_say_little() -> None:
    found = propensities({0: Seen(10_000, 8000), 5: Seen(10_000, 2000), 9: Seen(1, 0)})
    assert found[0] == 1.0
    assert found[5] == pytest.approx(0.25, abs=0.01)
    assert found[9] == pytest.approx(0.6, abs=0.05), "drawn towards what all places have"


def test_the_evaluation_data_knows_only_what_was_before() -> None:
    pairs = shop_pairs()
    split = split_by_time(pairs, RULE)
    data = build_evaluation_data(
        shop_items(),
        pairs,
        judged_from_ms=split.cuts.validation_from_ms,
        cases=split.test,
        rules=profile_rules(popularity_half_life_ms=1e15, popularity_breadth=1),
    )
    rows = {item: row for row, item in enumerate(data.items)}
    at_ms = split.test[-1].at_ms
    expected = np.bincount([rows[p["item_id"]] for p in pairs if p["occurred_at"] < at_ms], minlength=len(rows))
    assert data.popularity.at(at_ms) == pytest.approx(expected, rel=1e-3)
    assert data.interactions.sum() == sum(p["occurred_at"] < split.cuts.validation_from_ms for p in pairs)


def test_the_judging_slices_leave_out_what_was_recommended_where_enough_is_left() -> None:
    pairs = shop_pairs()
    whole = split_by_time(pairs, RULE, old_slice(pairs))
    recommended = [{**p, "rank": 0} if crc32(p["pair_id"].encode()) % 10 == 0 else p for p in pairs]
    split = split_by_time(recommended, RULE, old_slice(pairs))
    left = without_exposure(split, recommended, RULE, min_cases=5, min_users=2)
    assert left.alone
    assert left.train == whole.train, "what is learnt from stays"
    assert 5 <= len(left.test) < len(whole.test)
    found_alone = {(p["pseudonym"], p["item_id"]) for p in recommended if p["rank"] is None}
    assert all((case.user, item) in found_alone for case in left.test for item in case.targets)
    many = len(whole.test) + 1
    assert without_exposure(split, recommended, RULE, min_cases=many, min_users=2) == split
    assert without_exposure(split, recommended, RULE, min_cases=5, min_users=many) == split
    assert without_exposure(whole, pairs, RULE, min_cases=5, min_users=2)[:5] == whole[:5]
