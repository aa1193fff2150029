"""The population stability index and the bins it is taken over."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.stages.learning.drift import coarsen, histogram, population_stability

histograms = st.lists(st.integers(0, 5000), min_size=10, max_size=10)


@given(histograms, histograms, st.integers(1, 20))
def test_population_stability_is_a_distance_of_shares(first: list[int], second: list[int], times: int) -> None:
    index = population_stability(first, second)
    assert index >= 0
    assert index == pytest.approx(population_stability(second, first))
    assert population_stability(first, first) == 0
    full = [count + 100 for count in first]
    assert population_stability(full, [times * count for count in full]) < 0.01


def test_population_stability_by_hand() -> None:
    # Shares .5 and .5 against .8 and .2: .3 · ln(.8/.5) + .3 · ln(.5/.2) = .4159
    assert population_stability([500_000, 500_000], [800_000, 200_000]) == pytest.approx(0.4159, abs=1e-4)
    with pytest.raises(ValueError, match="bins"):
        population_stability([1], [1, 2])


@given(st.lists(st.floats(-3, 3), max_size=80).map(lambda found: np.array(found, np.float64)))
def test_every_score_is_counted_once_in_its_bin(scores: np.ndarray) -> None:
    edges = np.array([-1.0, 0.0, 0.5, 2.0])
    bounds = [-np.inf, *edges.tolist(), np.inf]
    assert histogram(scores, edges) == [sum(low <= score < high for score in scores) for low, high in pairwise(bounds)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40), st.integers(1, 12))
def test_coarser_bins_lose_nothing_and_none_is_too_small(pairs: list[tuple[int, int]], bins: int) -> None:
    reference, recent = [old for old, _ in pairs], [new for _, new in pairs]
    before, lately = coarsen(reference, recent, bins)
    assert (sum(before), sum(lately), len(before)) == (sum(reference), sum(recent), len(lately))
    assert len(before) <= bins
    if len(before) > 1:
        assert all(count * bins >= sum(reference) for count in before)


def test_what_is_spread_alike_is_stable_and_a_shift_is_not() -> None:
    generator = np.random.default_rng(8)
    edges = np.linspace(-1, 2, 99)
    fine = [histogram(generator.normal(mean, 0.2, 5000), edges) for mean in (0.5, 0.5, 0.65)]
    assert population_stability(*coarsen(fine[0], fine[1])) < 0.1
    assert population_stability(*coarsen(fine[0], fine[2])) > 0.25
