"""When a fine-tuning starts: every cause, and never two at once or too soon."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError
from streams.stages.learning.trigger import Shown, Situation, TriggerRule, decide, due

HOUR_MS = 3_600_000
START_MS = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
RULE = TriggerRule(min_pairs=1000, cron="0 3 * * *", min_pause_ms=6 * HOUR_MS)
QUIET = Situation(now_ms=START_MS + HOUR_MS, since_ms=START_MS, started_before=False)

histograms = st.lists(st.integers(0, 5000), min_size=10, max_size=10)
situations = st.builds(
    Situation,
    now_ms=st.integers(START_MS, START_MS + 50 * HOUR_MS),
    since_ms=st.just(START_MS),
    started_before=st.booleans(),
    running=st.booleans(),
    new_pairs=st.integers(0, 3000),
    request=st.none() | st.just("new season"),
    reference_scores=histograms,
    recent_scores=histograms,
    reference_shown=st.builds(Shown, st.just(5000), st.integers(0, 5000)),
    recent_shown=st.builds(Shown, st.just(5000), st.integers(0, 5000)),
)


@given(situations)
def test_never_two_at_once_never_too_soon_never_without_a_cause(now: Situation) -> None:
    decision = decide(now, RULE)
    assert decision.reason
    if decision.start:
        assert not now.running
        assert not now.started_before or now.now_ms >= now.since_ms + RULE.min_pause_ms
        assert decision.cause is not None
    if decision.cause is not None and not decision.start:
        assert decide(replace(now, running=False, now_ms=START_MS + 60 * HOUR_MS), RULE).start, "what waits is not lost"
    assert (decision.cause == "request") == (now.request is not None)


@given(situations, st.integers(0, 1000))
def test_more_pairs_never_take_a_start_away(now: Situation, more: int) -> None:
    if decide(now, RULE).start:
        assert decide(replace(now, new_pairs=now.new_pairs + more), RULE).start


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({}, None),
        ({"new_pairs": 999}, None),
        ({"new_pairs": 1000}, "pairs"),
        ({"now_ms": START_MS + 3 * HOUR_MS - 1}, None),
        ({"now_ms": START_MS + 3 * HOUR_MS}, "schedule"),
        ({"request": "new season"}, "request"),
        ({"reference_scores": [500] * 4, "recent_scores": [5000] * 4}, None),
        ({"reference_scores": [1000, 1000, 100, 100], "recent_scores": [100, 100, 1000, 1000]}, "drift"),
        ({"reference_scores": [100, 100, 10, 10], "recent_scores": [10, 10, 100, 100]}, None),
        ({"reference_shown": Shown(2000, 1000), "recent_shown": Shown(2000, 1190)}, None),
        ({"reference_shown": Shown(2000, 1000), "recent_shown": Shown(2000, 1210)}, "drift"),
        ({"reference_shown": Shown(2000, 1210), "recent_shown": Shown(2000, 1000)}, None),
        ({"reference_shown": Shown(200, 100), "recent_shown": Shown(200, 180)}, None),
    ],
)
def test_every_cause_alone(change: dict[str, object], cause: str | None) -> None:
    decision = decide(replace(QUIET, **change), RULE)  # type: ignore[arg-type]
    assert decision.cause == cause
    assert decision.start == (cause is not None)


def test_reasons_say_what_it_waits_for() -> None:
    asked = replace(QUIET, request="new season")
    assert "new season" in decide(asked, RULE).reason
    assert "300 minutes" in decide(replace(asked, started_before=True), RULE).reason
    assert "running" in decide(replace(asked, running=True), RULE).reason
    assert "drifted" in decide(replace(QUIET, reference_scores=[900, 100], recent_scores=[100, 900]), RULE).reason


@given(st.integers(0, 100 * HOUR_MS), st.integers(0, 100 * HOUR_MS))
def test_a_daily_schedule_is_due_once_a_day(since: int, later: int) -> None:
    threes = [day * 24 * HOUR_MS + 3 * HOUR_MS for day in range(12)]
    expected = any(since < three <= since + later for three in threes)
    assert due("0 3 * * *", START_MS + since, START_MS + since + later) == expected


@pytest.mark.parametrize("wrong", ["", "often", "61 * * * *"])
def test_a_wrong_schedule_names_itself(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="not a cron expression"):
        TriggerRule(cron=wrong)


def test_causes_can_be_turned_off() -> None:
    rule = TriggerRule(min_pairs=0, cron=None)
    assert decide(replace(QUIET, new_pairs=10**9, now_ms=START_MS * 2), rule).cause is None
