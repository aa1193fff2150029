"""The made-up large shop, how it is judged, and the methods beside each other."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.large_catalogues import answers, file
from benchmarks.large_methods import METHODS, RIDGE, counts, incomplete, local, together
from benchmarks.large_shop import COMMUNITY, HELD, LargeShop, cut, drawn, judge
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.together_table import Neighbours


def test_the_shop_is_the_same_for_a_seed_and_holds_its_last_purchases_back() -> None:
    shop, again, other = drawn(500, 1), drawn(500, 1), drawn(500, 2)
    np.testing.assert_array_equal(shop.known.items, again.known.items)
    assert len(shop.known.items) != len(other.known.items) or (shop.known.items != other.known.items).any()
    assert {len(wanted) for wanted in shop.wanted} == {HELD}
    for history, wanted in zip(shop.histories, shop.wanted, strict=True):
        assert not set(history.tolist()) & set(wanted.tolist())
    keys = shop.known.shoppers * 500 + shop.known.items
    assert len(np.unique(keys)) == len(keys), "each shopper and item once"


def test_most_pairs_of_purchases_are_of_one_community() -> None:
    shop = drawn(2000, 3)
    pairs = [
        (a // COMMUNITY, b // COMMUNITY) for history in shop.histories[:300] for a in history.tolist() for b in history.tolist() if a < b
    ]
    assert np.mean([a == b for a, b in pairs]) > 0.15  # 64 of 2,000 items: .03 by chance


def test_judging_counts_what_is_among_the_twenty_best() -> None:
    names = [f"{n:07}" for n in range(4)]
    known = drawn(4, 1).known._replace(names=names)
    shop = LargeShop(known, [np.array([0])], [np.array([1, 2])])
    related = RelatedItems(names, Neighbours(np.array([0, 2, 2, 2, 2]), np.array([1, 3]), np.array([0.5, 0.9], np.float32)))
    found = judge(shop, related)
    assert (found["recall"], found["reached"]) == (0.5, 0.5)
    assert found["ndcg"] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert judge(shop, related, 1)["recall"] == 0.0, "of each item only the strongest"
    assert judge(shop, nothing_related()) == {"recall": 0.0, "ndcg": 0.0, "reached": 0.0}


def test_cut_keeps_the_largest_by_magnitude() -> None:
    weights = np.array([0.1, -0.5, 0.3, 0.2], np.float32)
    assert cut(np.array([0, 3, 4]), weights, 2).tolist() == [0.0, -0.5, np.float32(0.3), np.float32(0.2)]


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.slow
def test_every_method_relates_what_belongs_together(name: str) -> None:
    shop = drawn(400, 5)
    found = judge(shop, METHODS[name].fit(shop.known))
    assert found["recall"] > 1.5 * 20 / 400


def test_an_incomplete_factor_of_a_small_matrix_is_nearly_the_inverse() -> None:
    known = drawn(60, 2).known
    system = together(known, diagonal=True).toarray() + RIDGE * np.eye(60)
    inverse = np.linalg.inv(system)
    exact = inverse / -np.diag(inverse)
    found = np.zeros((60, 60))
    related = incomplete(known)
    rows = np.repeat(np.arange(60), np.diff(related.neighbours.starts))
    found[rows, related.neighbours.others] = related.neighbours.strengths
    there = found != 0
    assert there.any()
    np.testing.assert_allclose(found[there], exact[there], atol=0.02)


def test_no_method_tells_of_pairs_of_few_shoppers() -> None:
    known = drawn(300, 4).known
    allowed = together(known).toarray() > 0
    for method in (local, counts):
        related = method(known)
        numbers = np.array([int(item) for item in related.items])
        rows = np.repeat(numbers, np.diff(related.neighbours.starts))
        assert allowed[rows, numbers[related.neighbours.others]].all()


@pytest.mark.slow
def test_what_serving_costs_is_measured_by_what_serves() -> None:
    known = drawn(300, 4).known
    related = local(known)
    told = answers(known, related) | file(related)
    assert all(value > 0 for value in told.values())
    assert told["file_mb"] * 1e6 > 8 * len(related.neighbours.others)
