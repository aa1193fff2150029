from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.ranking.rules import CART, CLICK, DISMISS, IMPRESSION, PURCHASE, RETURN, SEARCH, VIEW
from streams.stages.profile.profile import NEVER
from streams.stages.profile.triggers import policy_of
from tests.support.rules import profile_rules

RULES = profile_rules(debounce_ms=60_000, rewind_ms=3_600_000)


def test_a_search_always_causes_one_and_what_says_nothing_never() -> None:
    for triggered_at in (NEVER, 0, 1000, 10**15):
        assert policy_of(SEARCH, 1000, triggered_at, RULES) == "search"
        for kind in (IMPRESSION, DISMISS, RETURN):
            assert policy_of(kind, 1000, triggered_at, RULES) is None


def test_behaviour_waits_for_the_debounce() -> None:
    for kind in (VIEW, CLICK, CART, PURCHASE):
        assert policy_of(kind, 0, NEVER, RULES) == "behaviour"
        assert policy_of(kind, 59_999, 0, RULES) is None
        assert policy_of(kind, 60_000, 0, RULES) == "behaviour"


def test_a_late_event_is_silent_but_a_replay_is_not() -> None:
    assert policy_of(VIEW, 0, 300_000, RULES) is None
    assert policy_of(VIEW, 0, 3_600_000, RULES) == "behaviour"


@given(st.lists(st.integers(0, 2_000_000), max_size=50))
def test_triggers_of_one_run_of_time_are_apart(times: list[int]) -> None:
    triggered_at, triggers = NEVER, []
    for time_ms in times:
        if policy_of(VIEW, time_ms, triggered_at, RULES):
            triggered_at = time_ms
            triggers.append(time_ms)
    assert all(abs(a - b) >= 60_000 for i, a in enumerate(triggers) for b in triggers[:i])
    assert bool(triggers) == bool(times)


def test_no_policy_while_nothing_may_be_recommended() -> None:
    assert policy_of(SEARCH, 0, NEVER, profile_rules(recommend=False)) is None
