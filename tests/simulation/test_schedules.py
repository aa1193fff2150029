"""Nothing lost, nothing doubled, commits that only go forward, state as an oracle has it: in every schedule."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.simulation.many import chunks, play_all
from tests.simulation.world import World, play

QUICK = 1_500
FIRST = 100_000
"""``make simulate`` begins at 0."""
MANY, ALL = 10_000, 100_000


@pytest.mark.slow
def test_some_schedules_keep_every_promise() -> None:
    assert [wrong for seed in range(FIRST, FIRST + QUICK) if (wrong := play(seed)) is not None] == []


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_many_schedules_keep_every_promise(is_long: bool) -> None:
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        found = [wrong for part in pool.imap_unordered(play_all, chunks(FIRST + QUICK, ALL if is_long else MANY)) for wrong in part]
    assert found == []


def test_a_schedule_is_told_by_its_seed_alone() -> None:
    worlds = [World(17), World(17)]
    for world in worlds:
        world.play()
    assert worlds[0].scheduler.steps == worlds[1].scheduler.steps
    assert [log.rows for log in worlds[0].broker.logs.values()] == [log.rows for log in worlds[1].broker.logs.values()]


@pytest.mark.slow
def test_every_trouble_happens_and_is_lived_through() -> None:
    stories: set[str] = set()
    for seed in range(200):
        world = World(seed)
        world.play()
        stories |= {line.split(" ", 1)[1] for line in world.story}
    assert stories == {
        "kill", "stop", "cut off", "join", "leave", "loading", "faults", "forget", "leaderless", "lose commits", "topics made anew",
    }  # fmt: skip
