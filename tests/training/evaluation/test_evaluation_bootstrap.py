"""Intervals hold the truth as often as they say, on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.training.evaluation.bootstrap import interval, paired


@pytest.mark.parametrize("cases_each", [1, 4])
def test_coverage_of_the_true_mean(cases_each: int) -> None:
    """200 experiments; with four cases a user that share the user's own level, an interval over cases would be far too narrow."""
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        levels = generator.normal(0.3, 0.2, 100)
        values = np.repeat(levels, cases_each) + generator.normal(0, 0.1, 100 * cases_each)
        users = [f"u{n}" for n in np.repeat(np.arange(100), cases_each)]
        found = interval(values, users, resamples=400, seed=int(generator.integers(1 << 30)))
        held += found.low <= 0.3 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_pairs_cancel_what_users_share() -> None:
    generator = np.random.default_rng(3)
    levels = generator.uniform(0, 1, 300)
    candidate, incumbent = levels + 0.02 + generator.normal(0, 0.05, 300), levels + generator.normal(0, 0.05, 300)
    users = [f"u{n}" for n in range(300)]
    change = paired(candidate, incumbent, users)
    assert change.low > 0
    alone = interval(candidate, users)
    assert alone.high - alone.low > 3 * (change.high - change.low)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-1, 1)), min_size=1, max_size=40), st.integers(0, 5))
def test_interval_is_seeded_and_ordered(drawn: list[tuple[str, float]], seed: int) -> None:
    users, values = [u for u, _ in drawn], np.array([v for _, v in drawn])
    found = interval(values, users, resamples=100, seed=seed)
    assert found == interval(values, users, resamples=100, seed=seed)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    mirrored = interval(-values, users, resamples=100, seed=seed)
    assert mirrored.low == pytest.approx(-found.high)


def test_many_users_are_drawn_in_parts() -> None:
    """More than fit into memory at once."""
    generator = np.random.default_rng(0)
    values = generator.normal(0.5, 1.0, 30_000)
    found = interval(values, [str(n) for n in range(30_000)], resamples=300)
    error = 1.96 / np.sqrt(30_000)
    assert found.high - found.low == pytest.approx(2 * error, rel=0.2)


def test_wrong_lengths_are_refused_and_nothing_gives_nan() -> None:
    with pytest.raises(ValueError, match="values of"):
        interval(np.zeros(2), ["a"])
    with pytest.raises(ValueError, match="not the same cases"):
        paired(np.zeros(2), np.zeros(3), ["a", "b"])
    assert np.isnan(interval(np.zeros(0), []).mean)
