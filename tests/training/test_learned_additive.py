"""The additive model: what it learns, that its gradient is right, and lists that tell nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

from encoders.kernels import listwise
from streams.ranking.learned.crosses import BINS
from streams.ranking.learned.features import FEATURES, LEVELS, PLACE
from streams.training.learned.additive import AdditiveRule, fit_additive

COUNT = len(FEATURES)
RULE = AdditiveRule()


def lists(wanted: Any, count: int = 400, size: int = 12, seed: int = 1) -> tuple[Any, Any, Any]:
    """Lists of which one is taken, with a chance that grows with exp(wanted(levels))."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, LEVELS, (count * size, COUNT)).astype(np.uint8)
    history = rng.integers(0, LEVELS, count).astype(np.uint8)
    levels[:, PLACE["history"]] = np.repeat(history, size)
    noise = rng.gumbel(size=count * size)
    best = (wanted(levels.astype(np.float64)) + noise).reshape(count, size).argmax(axis=1)
    gains = np.zeros((count, size))
    gains[np.arange(count), best] = 1.0
    return levels, gains.ravel(), np.full(count, size)


def test_a_curve_is_found_and_what_says_nothing_stays_small() -> None:
    place = PLACE["popularity_60"]
    levels, gains, sizes = lists(lambda v: 3 * np.sin(v[:, place] / 40), count=3000)
    tables = fit_additive(levels, gains, sizes, RULE, 1.0).tables
    expected = 3 * np.sin(np.arange(LEVELS) / 40)
    found = tables[place]
    assert np.corrcoef(found, expected)[0, 1] > 0.97
    assert np.ptp(found) == pytest.approx(np.ptp(expected), rel=0.3)
    others = [n for n in range(COUNT) if n != place]
    assert np.abs(tables[others]).max() < 0.3 * np.ptp(found)


def test_a_curve_that_turns_with_another_feature_needs_both() -> None:
    rising = PLACE["related"], PLACE["history"]
    wanted = lambda v: 3 * (v[:, rising[0]] / 255 - 0.5) * np.sign(v[:, rising[1]] - 127.5)  # noqa: E731
    levels, gains, sizes = lists(wanted, count=3000)
    fitted = fit_additive(levels, gains, sizes, RULE, 1.0)
    number = [tuple(pair) for pair in fitted.crosses.features.tolist()].index(rising)
    grid = fitted.crosses.tables[number].reshape(BINS, BINS)
    slopes = grid[-1] - grid[0]
    assert slopes[:6].max() < -1.0
    assert slopes[-6:].min() > 1.0


@settings(max_examples=20)
@given(st.integers(0, 999), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_the_gradient_is_that_of_the_loss(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    begins = np.concatenate(([0], np.cumsum(sizes)))
    levels = rng.integers(0, 4, (begins[-1], 3)).astype(np.uint8)
    taken = rng.random(begins[-1])
    taken /= np.repeat(np.add.reduceat(taken, begins[:-1]), sizes)

    def loss(values: Any) -> tuple[float, Any]:
        gradient = np.zeros((3, 4))
        return listwise.loss_and_gradient(values.reshape(3, 4), levels, taken, begins, gradient), gradient.ravel()

    start = rng.normal(0, 2, 12)
    assert check_grad(lambda v: loss(v)[0], lambda v: loss(v)[1], start) < 1e-5
    plain = 0.0
    for first, end in pairwise(begins):
        scores = start.reshape(3, 4)[np.arange(3), levels[first:end]].sum(axis=1)
        plain -= taken[first:end] @ (scores - np.log(np.exp(scores).sum()))
    assert loss(start)[0] == pytest.approx(plain)


def test_lists_whose_candidates_are_all_alike_teach_nothing() -> None:
    levels, gains, sizes = lists(lambda v: 0 * v[:, 0])
    levels[:] = 17
    fitted = fit_additive(levels, gains, sizes, RULE, 1.0)
    assert np.abs(fitted.tables).max() < 1e-6
    assert np.abs(fitted.crosses.tables).max() < 1e-6


def test_a_list_counts_once_however_much_of_it_was_taken() -> None:
    levels, gains, sizes = lists(lambda v: v[:, 0] / 50)
    once = fit_additive(levels, gains, sizes, RULE, 1.0)
    heavy = fit_additive(levels, np.where(np.arange(len(gains)) < 12, 1000 * gains, gains), sizes, RULE, 1.0)
    np.testing.assert_allclose(once.tables, heavy.tables, atol=1e-9)


def test_order_within_lists_changes_nothing() -> None:
    levels, gains, sizes = lists(lambda v: v[:, 0] / 50, count=100)
    turned = np.arange(len(gains)).reshape(100, 12)[:, ::-1].ravel()
    one, other = fit_additive(levels, gains, sizes, RULE, 1.0), fit_additive(levels[turned], gains[turned], sizes, RULE, 1.0)
    np.testing.assert_allclose(one.tables, other.tables, atol=1e-2)
