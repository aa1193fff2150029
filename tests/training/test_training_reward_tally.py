"""Feedback as rewards of two models, kept over restarts; requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.training.requests import answer, pending, request
from streams.training.reward_tally import RewardTally
from streams.training.rollout import CanaryRule
from tests.support.trainer_data import feedback

RULE = CanaryRule(min_each=50)


def stream(seed: int, count: int, better: float) -> list[tuple[int, Any]]:
    """Recommendations of two items each, by two models in turn."""
    random = np.random.default_rng(seed)
    found: list[tuple[int, Any]] = []
    for number in range(count):
        version, level = ("new", 0.2 + better) if number % 2 else ("old", 0.2)
        for rank in range(2):
            hit = float(random.random() < level)
            found.append((1000 + number, feedback(f"r{number}", version, hit, rank, "purchase" if hit else "ignored", f"k1.{number // 4}")))
    return found


@pytest.mark.parametrize(("better", "action"), [(0.3, "promote"), (-0.2, "roll back"), (0.0, "go on")])
def test_the_tally_decides_and_survives_a_restart_at_any_place(better: float, action: str) -> None:
    records = stream(1, 800, better)
    whole = RewardTally()
    whole.watch("old", "new", 500)
    whole.add(0, records)
    parts = RewardTally()
    parts.watch("old", "new", 500)
    for start in range(0, len(records), 37):
        parts = RewardTally.load(parts.dump())
        parts.watch("old", "new", 500)
        parts.add(0, records[start : start + 37])
    assert parts == whole
    outcome = whole.outcome(2000, RULE)
    assert outcome is not None and outcome.action == action
    assert whole.seen[0].recommended == 800


def test_one_recommendation_is_one_reward() -> None:
    tally = RewardTally()
    tally.watch("old", "new", 500)
    tally.add(0, [(600, feedback("a", "new", 0.5)), (600, feedback("a", "new", 1.0, 1)), (600, feedback("b", "new", 0.0))])
    tally.add(1, [(600, feedback("c", "old", 1.0)), (600, feedback("d", "other", 1.0))])
    assert tally.arms["new"] == (1, 1.5, 2.25, None), "b may have more items to come"
    assert "other" not in tally.arms


def test_what_was_before_the_announcement_does_not_count_and_a_new_canary_begins_anew() -> None:
    tally = RewardTally()
    assert tally.outcome(0, RULE) is None
    tally.watch("old", "new", 1000)
    tally.add(0, [(999, feedback("a", "old", 1.0)), (1000, feedback("b", "old", 1.0)), (1001, feedback("c", "old", 1.0))])
    assert tally.arms["old"].size == 1
    tally.watch("old", "newer", 2000)
    assert tally.arms == {}


@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["requested", "started", "finished", "failed"])), max_size=30), st.integers(0, 30)
)
def test_pending_is_what_nothing_has_ended_however_it_is_read(states: list[tuple[int, str]], cut: int) -> None:
    records = [{**request("why", n), "request_id": str(n), "state": state} for n, state in states]
    once = pending([], records)  # type: ignore[arg-type]
    assert pending(pending([], records[:cut]), records[cut:]) == once  # type: ignore[arg-type]
    for found in once:
        last = [state for n, state in states if str(n) == found["request_id"] and state != "started"][-1]
        assert last == "requested"


def test_an_answer_has_its_request_s_id_and_cause() -> None:
    asked = request("more", 5)
    record = answer(asked, "failed", "no space", 7)
    assert (record["request_id"], record["cause"], record["state"], record["reason"]) == (
        asked["request_id"],
        "operator",
        "failed",
        "no space",
    )
    assert pending(pending([], [asked]), [record]) == []
