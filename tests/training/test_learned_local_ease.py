"""EASE solved item by item: beside a dense solution in plain numpy, and what it must never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.learned.related import RelatedItems
from streams.training.learned.ease import fit_ease
from streams.training.learned.local_ease import LocalRule, fit_local
from streams.training.learned.past import Interactions

RULE = LocalRule()


def interactions(matrix: np.ndarray) -> Interactions:
    shoppers, items = np.nonzero(matrix)
    return Interactions(shoppers, items, matrix[shoppers, items], [f"n{n}" for n in range(matrix.shape[1])], len(matrix))


def dense(related: RelatedItems, count: int) -> np.ndarray:
    found = np.zeros((count, count))
    places = [int(item[1:]) for item in related.items]
    starts, others, strengths = related.neighbours
    for row, place in enumerate(places):
        own = slice(starts[row], starts[row + 1])
        found[place, [places[other] for other in others[own]]] = strengths[own]
    return found


def some_shoppers(seed: int, shoppers: int, items: int, share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((shoppers, items)) * (rng.random((shoppers, items)) < share)


def by_column(matrix: np.ndarray, least: int, ridge: float, solved: int) -> np.ndarray:
    """The same by plain numpy: for each item a ridge regression on those that go with it most."""
    shared = (matrix > 0).T.astype(int) @ (matrix > 0).astype(int)
    gram = np.where(shared >= least, matrix.T @ matrix, 0.0)
    squares = (matrix**2).sum(axis=0)
    squares[(matrix > 0).sum(axis=0) < least] = 0.0
    found = np.zeros_like(gram)
    for item in range(len(gram)):
        strength = np.where(np.arange(len(gram)) == item, 0.0, gram[item]) / np.sqrt(squares + ridge)
        near = np.sort(np.argsort(-strength, kind="stable")[:solved])
        near = near[strength[near] > 0]
        system = gram[np.ix_(near, near)]
        system[np.diag_indices(len(near))] = squares[near] + ridge
        found[near, item] = np.linalg.solve(system, gram[near, item])
    return found


@settings(max_examples=25)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 14), st.integers(1, 6), st.sampled_from([2, 5, 128]))
def test_each_item_is_a_ridge_regression_on_its_nearest(seed: int, shoppers: int, items: int, least: int, solved: int) -> None:
    matrix = some_shoppers(seed, shoppers, items).astype(np.float32).astype(np.float64)
    found = dense(fit_local(interactions(matrix), RULE._replace(solved=solved), shoppers=least), items)
    np.testing.assert_allclose(found, by_column(matrix, least, RULE.ridge, solved), atol=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 999), st.integers(20, 80), st.integers(2, 12))
def test_where_all_items_fit_into_a_system_it_is_ease(seed: int, shoppers: int, items: int) -> None:
    known = interactions(some_shoppers(seed, shoppers, items, 0.9))
    whole, solved = fit_ease(known, shoppers=1), fit_local(known, RULE._replace(ridge=300.0), shoppers=1)
    np.testing.assert_allclose(dense(solved, items), dense(whole, items), atol=1e-5)


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((0, 0)), np.zeros((3, 2)), np.ones((9, 1)), np.ones((1, 5)), np.eye(6), np.ones((2, 5))],
    ids=["empty", "nothing liked", "one item", "one shopper", "nothing shared", "too few shoppers"],
)
def test_nothing_shared_nothing_related(matrix: np.ndarray) -> None:
    found = fit_local(interactions(matrix), RULE, shoppers=3)
    assert (list(found.items), len(found.neighbours.others)) == ([], 0)


def test_one_pair_of_two_shoppers_has_no_weight_where_three_are_needed() -> None:
    matrix = np.zeros((20, 4))
    matrix[:2, :2], matrix[5:8, 2:4] = 1.0, 1.0
    found = fit_local(interactions(matrix), RULE, shoppers=3)
    assert sorted(found.items) == ["n2", "n3"]
    assert np.count_nonzero(dense(found, 4)) == 2


def test_a_shopper_who_buys_everything_counts_for_her_heaviest_items_only() -> None:
    others = (np.random.default_rng(3).random((40, 60)) < 0.2).astype(np.float64)
    assert others.sum(axis=1).max() <= 30
    everything, heaviest = np.full((1, 60), 0.5), np.zeros((1, 60))
    everything[0, ::2] = heaviest[0, ::2] = 1.0
    rule = RULE._replace(history=30)
    found, expected = (fit_local(interactions(np.vstack((others, own))), rule, shoppers=3) for own in (everything, heaviest))
    np.testing.assert_array_equal(dense(found, 60), dense(expected, 60))
    assert len(found.items) == 60


def test_it_is_the_same_again_and_in_any_order_of_the_interactions() -> None:
    known = interactions(some_shoppers(11, 300, 90, 0.2))
    mixed = np.random.default_rng(1).permutation(len(known.items))
    again = known._replace(shoppers=known.shoppers[mixed], items=known.items[mixed], weights=known.weights[mixed])
    first, second = (fit_local(one, RULE._replace(solved=20, companions=40), shoppers=3) for one in (known, again))
    assert list(first.items) == list(second.items)
    for left, right in zip(first.neighbours, second.neighbours, strict=True):
        np.testing.assert_array_equal(left, right)


def test_neighbours_are_bounded_and_the_largest_stay() -> None:
    known = interactions(some_shoppers(5, 200, 60, 0.5))
    whole = dense(fit_local(known, RULE, shoppers=1), 60)
    related = fit_local(known, RULE._replace(neighbours=20), shoppers=1)
    assert np.diff(related.neighbours.starts).tolist() == [20] * 60
    kept = dense(related, 60)
    np.testing.assert_array_equal(kept[kept != 0], whole[kept != 0])
    least = np.where(kept != 0, np.abs(kept), np.inf).min(axis=1)
    assert (np.where(kept == 0, np.abs(whole), 0.0).max(axis=1) <= least).all()


def test_a_very_large_catalogue_keeps_fewer_of_each() -> None:
    assert [RULE.kept(items) for items in (1, 10_000, 1_000_000, 1 << 40)] == [128, 128, 33, 16]


def test_a_truncated_system_without_a_factor_is_solved_with_more_ridge() -> None:
    # Many shoppers who all buy the same: the sums are far above the ridge, and with two companions an item most are missing.
    matrix = np.ones((5000, 12))
    found = dense(fit_local(interactions(matrix), RULE._replace(ridge=1.0, companions=3, solved=3), shoppers=3), 12)
    assert np.isfinite(found).all() and (found > 0).any()
