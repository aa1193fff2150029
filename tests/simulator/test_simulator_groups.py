"""What two groups buy: counted from a moment on, without those who see nothing, and not beyond the end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.simulator.groups import Comparison, GroupOutcome, outcome
from streams.simulator.shopper import Shopper, make_shoppers


def shoppers(count: int = 40) -> list[Shopper]:
    return make_shoppers(count, random.Random(3), 0, 1000, 0.3)


def test_only_what_happens_between_beginning_and_end_counts() -> None:
    all_of_them = shoppers()
    seen = [shopper for shopper in all_of_them if not shopper.control]
    new = {shopper.user_id for shopper in seen[::2]}
    for shopper in all_of_them:
        shopper.sessions, shopper.purchases = 7, 3
    comparison = Comparison(all_of_them, new.__contains__)
    assert comparison.outcome() == GroupOutcome(0, 0, 0, 0)
    for shopper in all_of_them:
        shopper.sessions += 2
        shopper.purchases += shopper.user_id in new
    comparison.close()
    for shopper in all_of_them:
        shopper.sessions += 100
    assert comparison.outcome() == GroupOutcome(2 * len(new), len(new), 2 * (len(seen) - len(new)), 0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), min_size=1, max_size=30))
def test_every_session_is_in_one_group(counts: list[tuple[int, int, bool]]) -> None:
    people = shoppers(len(counts))
    chosen = set()
    for shopper, (sessions, purchases, treated) in zip(people, counts, strict=True):
        shopper.sessions, shopper.purchases = sessions, purchases
        if treated:
            chosen.add(shopper.user_id)
    found = outcome(people, lambda shopper: shopper.user_id in chosen)
    assert found.treated_sessions + found.control_sessions == sum(sessions for sessions, _, _ in counts)
    assert found.treated_purchases == sum(purchases for _, purchases, treated in counts if treated)
    low, high = found.uplift_interval
    assert low <= found.treated_rate - found.control_rate <= high


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = random.Random(5)
    held = 0
    for _ in range(400):
        purchases = [sum(rng.random() < rate for _ in range(500)) for rate in (0.25, 0.2)]
        low, high = GroupOutcome(500, purchases[0], 500, purchases[1]).uplift_interval
        held += low <= 0.05 <= high
    assert held / 400 == pytest.approx(0.95, abs=0.035)
