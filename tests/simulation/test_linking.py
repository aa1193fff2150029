"""Every history is where it belongs, once: whoever dies, stalls or takes over, and whenever."""

from __future__ import annotations

from typing import Any

import pytest

from streams.stages.profile import stage as stage_module
from streams.stages.profile import triggers as triggers_module
from streams.stages.profile.links import HandedOver
from streams.stages.profile.profile import Linked, Profile
from streams.topics import ITEMS_TOGETHER, PROFILE_LINKS
from tests.simulation.broker import DEAD
from tests.simulation.linking import LinkWorker, LinkWorld, play_linking
from tests.simulation.many import wrong_in

QUICK, MANY, ALL = 250, 1_500, 5_000
ENOUGH = 600
"""Schedules in which a fault must show."""
Patch = pytest.MonkeyPatch


@pytest.mark.slow
def test_some_schedules_keep_every_promise() -> None:
    assert [wrong for seed in range(QUICK) if (wrong := play_linking(seed)) is not None] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_schedules_keep_every_promise(is_long: bool) -> None:
    assert [wrong for seed in range(QUICK, ALL if is_long else MANY) if (wrong := play_linking(seed)) is not None] == []


def test_there_are_links_and_every_trouble() -> None:
    stories: set[str] = set()
    links = gone = 0
    for seed in range(150):
        world = LinkWorld(seed)
        world.play()
        stories |= {line.split(" ", 1)[1] for line in world.story}
        links += world.linked
        gone += world.gone
    assert links > 150 and gone > 30
    assert {"kill", "stop", "cut off", "join", "leave", "loading", "faults", "leaderless", "lose commits"} <= stories


@pytest.mark.slow
def test_a_link_that_is_looked_for_in_one_partition_only_would_be_written_twice(monkeypatch: Patch) -> None:
    for name, value in (("links", 0.4), ("decisions", 0.0), ("kinds", ("view", "search")), ("seals", False)):
        monkeypatch.setattr(LinkWorld, name, value)
    monkeypatch.setattr(LinkWorker, "outputs_of", {PROFILE_LINKS: True, ITEMS_TOGETHER: True, DEAD: True})
    wrong = wrong_in(play_linking, ENOUGH)
    assert "links that are too many" in wrong


@pytest.mark.slow
def test_one_that_is_written_twice_would_still_count_once(monkeypatch: Patch) -> None:
    """Two walls: what the engine does not find again is known by its id."""
    monkeypatch.setattr(LinkWorker, "outputs_of", {PROFILE_LINKS: True, ITEMS_TOGETHER: True, DEAD: True})

    def judge(self: LinkWorld) -> None:
        assert self._state_is_right()

    monkeypatch.setattr(LinkWorld, "_judge", judge)
    assert [wrong for seed in range(QUICK) if (wrong := play_linking(seed)) is not None] == []


def test_a_browser_that_is_not_emptied_would_be_seen(monkeypatch: Patch) -> None:
    def kept(profile: Profile, event: Any, offset: int, rules: Any) -> HandedOver | None:
        handed = hand_over(profile, event, offset, rules)
        if handed is not None:
            handed.profile.items = profile.items
        return handed

    hand_over = triggers_module.hand_over
    monkeypatch.setattr(triggers_module, "hand_over", kept)
    assert "Violation" in wrong_in(play_linking, 50) or "Stuck" in wrong_in(play_linking, 50)


@pytest.mark.slow
def test_an_erasure_that_is_forgotten_with_its_profile_would_be_seen(monkeypatch: Patch) -> None:
    """The batch comes again, and nobody knows any more that it was applied: what was done before counts as new."""
    for name, value in (("kinds", ("purchase",)), ("decisions", 0.4)):
        monkeypatch.setattr(LinkWorld, name, value)
    assert [wrong for seed in range(QUICK) if (wrong := play_linking(seed)) is not None] == []
    monkeypatch.setattr(stage_module, "load_erased_until", lambda data: -1)
    assert "bought together" in wrong_in(play_linking, ENOUGH)


def test_events_of_who_refuses_that_count_would_be_seen(monkeypatch: Patch) -> None:
    monkeypatch.setattr(triggers_module, "is_held_back", lambda profile: False)
    wrong_in(play_linking, 50)


def test_links_that_are_only_put_side_by_side_would_be_seen(monkeypatch: Patch) -> None:
    """Without ids of their own, a link that comes again (lost commits) counts again."""

    def careless(profile: Profile, link: Any, rules: Any) -> bool:
        before = list(profile.linked)
        join(profile, link, rules)
        added = [Linked(bytes([len(before)]) * 8, one.is_query, one.ref, one.entry) for one in profile.linked if one not in before]
        profile.linked = (before + added)[-rules.history_size :]
        return True

    join = stage_module.join
    monkeypatch.setattr(stage_module, "join", careless)
    wrong_in(play_linking, 50)
