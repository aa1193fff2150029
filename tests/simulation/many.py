"""Many schedules, in portions that processes share out."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.simulation.world import play

_CHUNK = 500


def play_all(seeds: range) -> list[str]:
    """What is wrong with those of the schedules that go wrong."""
    logging.disable(logging.CRITICAL)
    return [wrong for seed in seeds if (wrong := play(seed)) is not None]


def wrong_in(play_one: Callable[[int], str | None], most: int) -> str:
    """What the first schedule says that breaks a promise, where a fault was planted."""
    for seed in range(most):
        wrong = play_one(seed)
        if wrong is not None:
            return wrong
    pytest.fail("no schedule shows it: the schedules are too tame, or the judge is too mild")


def chunks(first: int, count: int) -> list[range]:
    return [range(at, min(at + _CHUNK, first + count)) for at in range(first, first + count, _CHUNK)]
