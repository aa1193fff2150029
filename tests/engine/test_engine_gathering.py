"""How long a process under pressure gathers."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.kafka import gathering as module
from streams.engine.kafka.gathering import Pressure, gather_s


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=30))
def test_it_is_never_longer_than_it_may_be_and_the_share_is_one(steps: list[tuple[float, float]]) -> None:
    """Whatever the clock does between two looks: also nothing, or a long sleep."""
    at = wanted = 0.0
    samples = [(at, wanted)]
    for passed, share in steps:
        at, wanted = at + passed, wanted + passed * share
        samples.append((at, wanted))
    reads = iter(samples)
    pressure = Pressure(lambda: next(reads))
    for _ in steps:
        share = pressure.share()
        assert -1e-9 <= share <= 1 + 1e-9
        assert 0 <= gather_s(share) <= 0.15


@pytest.mark.parametrize("read", [module._with_waiting, module._running])
def test_what_the_system_tells_rises_while_the_thread_works(read: object) -> None:
    assert callable(read)
    before = read()
    while read()[1] - before[1] < 0.01:
        sum(range(10_000))
    after = read()
    assert after[0] - before[0] >= 0.005, "the two clocks tick in steps"
    assert after[1] > before[1]
