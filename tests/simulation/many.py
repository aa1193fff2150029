"""Many schedules, in portions that processes share out."""

from __future__ import annotations

import logging

from tests.simulation.world import play

_CHUNK = 500


def play_all(seeds: range) -> list[str]:
    """What is wrong with those of the schedules that go wrong."""
    logging.disable(logging.CRITICAL)
    return [wrong for seed in seeds if (wrong := play(seed)) is not None]


def chunks(first: int, count: int) -> list[range]:
    return [range(at, min(at + _CHUNK, first + count)) for at in range(first, first + count, _CHUNK)]
