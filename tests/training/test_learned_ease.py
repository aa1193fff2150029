"""EASE beside its closed form in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.learned.related import RelatedItems, bounded
from streams.training.learned.ease import LAMBDA, NEIGHBOURS, fit_ease
from streams.training.learned.past import Interactions


def interactions(matrix: np.ndarray) -> Interactions:
    shoppers, items = np.nonzero(matrix)
    names = [f"n{item}" for item in range(matrix.shape[1])]
    return Interactions(shoppers, items, matrix[shoppers, items], names, len(matrix))


def dense(related: RelatedItems, names: list[str]) -> np.ndarray:
    found = np.zeros((len(names), len(names)))
    starts, others, strengths = related.neighbours
    for number, item in enumerate(related.items):
        for at in range(starts[number], starts[number + 1]):
            found[names.index(item), names.index(related.items[others[at]])] = strengths[at]
    return found


def closed_form(matrix: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(matrix.T @ matrix + LAMBDA * np.eye(matrix.shape[1]))
    found = np.eye(matrix.shape[1]) - inverse @ np.diag(1 / np.diag(inverse))
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def some_shoppers(seed: int, shoppers: int, items: int, share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((shoppers, items)) * (rng.random((shoppers, items)) < share)


@settings(max_examples=25)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 12), st.integers(1, 8))
def test_it_is_the_closed_form_but_for_pairs_of_few_shoppers(seed: int, shoppers: int, items: int, least: int) -> None:
    matrix = some_shoppers(seed, shoppers, items)
    known = interactions(matrix)
    found = dense(fit_ease(known, shoppers=least), list(known.names))
    shared = (matrix > 0).T.astype(int) @ (matrix > 0).astype(int)
    np.testing.assert_allclose(found, np.where(shared >= least, closed_form(matrix), 0.0), atol=1e-7)


def test_one_pair_of_two_shoppers_has_no_weight_where_three_are_needed() -> None:
    matrix = np.zeros((20, 4))
    matrix[:2, :2], matrix[5:8, 2:4] = 1.0, 1.0
    found = dense(fit_ease(interactions(matrix), shoppers=3), [f"n{n}" for n in range(4)])
    assert found[2, 3] > 0 and found[3, 2] > 0
    assert np.count_nonzero(found) == 2


@pytest.mark.parametrize("known", [Interactions(*np.zeros((2, 0), np.int64), np.zeros(0), [], 0), interactions(np.zeros((3, 2)))])
def test_nothing_known_nothing_related(known: Interactions) -> None:
    found = fit_ease(known, shoppers=1)
    assert (list(found.items), len(found.neighbours.others)) == ([], 0)


def test_the_most_frequent_items_are_taken() -> None:
    matrix = some_shoppers(3, 50, 9, 0.4)
    matrix[:, 4] = 1.0
    matrix[:40, 7] = 1.0
    known = interactions(matrix)
    found = fit_ease(known, shoppers=1, most_items=2)
    assert list(found.items) == ["n4", "n7"]
    np.testing.assert_allclose(dense(found, ["n4", "n7"]), closed_form(matrix[:, [4, 7]]), atol=1e-7)


def test_neighbours_are_bounded() -> None:
    matrix = some_shoppers(5, 200, NEIGHBOURS + 40, 0.5)
    related = fit_ease(interactions(matrix), shoppers=1)
    assert np.diff(related.neighbours.starts).tolist() == [NEIGHBOURS] * (NEIGHBOURS + 40)
    kept = np.abs(dense(related, list(related.items)))
    whole = np.abs(closed_form(matrix))[:, : NEIGHBOURS + 40]
    names = [int(item[1:]) for item in related.items]
    whole = whole[np.ix_(names, names)]
    least = np.where(kept > 0, whole, np.inf).min(axis=1)
    assert (np.where(kept == 0, whole, 0.0).max(axis=1) <= least + 1e-9).all(), "what is left out is smaller"


@given(st.integers(0, 999), st.integers(1, 8), st.integers(1, 9))
def test_bounded_keeps_the_largest_of_each_row(seed: int, items: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((items, items)).astype(np.float32) * (rng.random((items, items)) < 0.7)
    found = bounded(weights, most)
    for row in range(items):
        own = slice(found.starts[row], found.starts[row + 1])
        expected = sorted(np.flatnonzero(weights[row]).tolist(), key=lambda at: -abs(weights[row, at]))[:most]
        assert sorted(found.others[own].tolist()) == sorted(expected)
        assert found.strengths[own].tolist() == weights[row, found.others[own]].tolist()
