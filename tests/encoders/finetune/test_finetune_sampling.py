"""Which examples a step sees, and how the learning rate goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.finetune.examples import TrainingSet
from encoders.finetune.sampling import Budget, Sampler, learning_rate


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 99))
def test_an_epoch_sees_each_example_once(count: int, size: int, seed: int) -> None:
    sampler = Sampler(np.arange(count), batch_size=size, newest_from_ms=None, replay_share=0.3, seed=seed)
    steps = 3 * count
    seen = np.bincount(np.concatenate([sampler.batch(step) for step in range(steps)]), minlength=count)
    assert seen.max() - seen.min() <= 1
    assert sampler.epochs(steps) == pytest.approx(steps * size / count)
    again = Sampler(np.arange(count), batch_size=size, newest_from_ms=None, replay_share=0.3, seed=seed)
    assert np.array_equal(again.batch(steps), sampler.batch(steps)), "a step's batch needs no history"


@given(st.integers(2, 40), st.floats(0, 1))
def test_older_examples_have_their_share(size: int, share: float) -> None:
    sampler = Sampler(np.arange(100), batch_size=size, newest_from_ms=60, replay_share=share, seed=1)
    for step in range(5):
        batch = sampler.batch(step)
        assert len(batch) == size
        assert int((batch < 60).sum()) == min(round(share * size), size - 1)


def test_inclusion_is_what_sampling_does() -> None:
    counts = np.array([1, 3, 6, 0])
    data = TrainingSet(["a", "b", "c", "d"], counts, [])
    random = np.random.default_rng(0)
    drawn = np.zeros(4)
    for _ in range(4000):
        drawn[np.unique(random.choice(4, 5, p=counts / 10))] += 1
    assert np.allclose(data.inclusion(5), drawn / 4000, atol=0.03)


def test_budget_and_rate() -> None:
    assert Budget(10, None).fraction(5, 1e9) == 0.5
    assert Budget(10, 60.0).fraction(1, 30.0) == 0.5
    assert Budget(None, 60.0).fraction(10_000, 90.0) == 1
    assert Budget(None, 60.0).planned_steps(10, 15.0) == 40
    rates = [learning_rate(fraction / 100, peak=1.0, warmup=0.1) for fraction in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[0] > 0
    assert rates[100] == pytest.approx(0)
    assert learning_rate(0, peak=1.0, warmup=0.0) == 1.0
