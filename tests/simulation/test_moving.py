"""In a rotation everything goes from old pseudonyms to new ones once: whoever dies, stalls or takes over, and whenever."""

from __future__ import annotations

import pytest

from streams.privacy.moves import Announcement
from streams.ranking.rules import ProfileRules
from streams.stages.profile import triggers as triggers_module
from streams.stages.profile.moves import ProfileMove
from streams.stages.profile.profile import Profile
from streams.topics import PRIVACY_MOVES
from tests.simulation.broker import DEAD
from tests.simulation.many import wrong_in
from tests.simulation.moving import MoveWorker, MoveWorld, play_moving

QUICK, MANY, ALL = 150, 1_000, 4_000
ENOUGH = 600
"""Schedules in which a fault must show."""
Patch = pytest.MonkeyPatch


@pytest.mark.slow
def test_some_schedules_keep_every_promise() -> None:
    assert [wrong for seed in range(QUICK) if (wrong := play_moving(seed)) is not None] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_schedules_keep_every_promise(is_long: bool) -> None:
    assert [wrong for seed in range(QUICK, ALL if is_long else MANY) if (wrong := play_moving(seed)) is not None] == []


def test_there_are_moves_and_every_trouble() -> None:
    stories: set[str] = set()
    moved = 0
    for seed in range(60):
        world = MoveWorld(seed)
        world.play()
        stories |= {line.split(" ", 1)[1] for line in world.story}
        moved += world.moved
    assert moved > 100
    assert {"kill", "stop", "cut off", "join", "leave", "loading", "faults", "lose commits"} <= stories


@pytest.mark.slow
def test_what_is_looked_for_in_one_partition_only_would_be_handed_over_twice(monkeypatch: Patch) -> None:
    monkeypatch.setattr(MoveWorker, "outputs_of", {PRIVACY_MOVES: True, DEAD: True})
    assert "too often" in wrong_in(play_moving, ENOUGH)


def test_a_profile_that_is_not_emptied_would_be_seen(monkeypatch: Patch) -> None:
    real = triggers_module.leave

    def kept(profile: Profile, said: Announcement, offset: int, rules: ProfileRules) -> tuple[Profile | None, list[ProfileMove]]:
        left, sent = real(profile, said, offset, rules)
        if left is not None:
            left.items = profile.items
        return left, sent

    monkeypatch.setattr(triggers_module, "leave", kept)
    # By the profile that stays, or by what is handed over once more: whichever a schedule shows first.
    assert wrong_in(play_moving, ENOUGH).partition("Violation: ")[2].startswith(("found and expected", "handed over too often"))


def test_a_request_to_forget_that_is_not_sent_on_would_be_seen(monkeypatch: Patch) -> None:
    real = triggers_module.leave

    def kept_back(profile: Profile, said: Announcement, offset: int, rules: ProfileRules) -> tuple[Profile | None, list[ProfileMove]]:
        left, sent = real(profile, said, offset, rules)
        return left, [move for move in sent if move.what != "forget"]

    monkeypatch.setattr(triggers_module, "leave", kept_back)
    assert "not done" in wrong_in(play_moving, ENOUGH)
