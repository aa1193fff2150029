from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ranking.popularity import decay
from streams.ranking.request import Entry
from streams.ranking.rules import CODES, DISMISS, HISTORY_WEIGHTS, PURCHASE, RETURN, VIEW, ProfileRules
from streams.stages.profile.history import apply_event, dismissed, merge
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from tests.support.profile_harness import START_MS, event
from tests.support.rules import profile_rules

RULES = profile_rules(half_life_ms=1000.0)
entries = st.builds(
    Entry,
    st.sampled_from((0.2, 0.3, 1.0, 1.9, -0.3, -0.5)),
    st.integers(0, 5000),
    st.sampled_from((VIEW, PURCHASE, RETURN, DISMISS)),
)


def applied(events: list[dict[str, Any]], rules: ProfileRules = RULES) -> Profile:
    profile = Profile()
    for offset, one in enumerate(events):
        apply_event(profile, one, offset, rules)  # type: ignore[arg-type]
    return profile


def test_an_event_enters_the_history_with_the_weight_of_its_type() -> None:
    for name, code in CODES.items():
        profile = applied([event(1, "a", name, "i1", query="q")])
        history = profile.queries if name == "search" else profile.items
        expected = {("q" if name == "search" else "i1"): Entry(HISTORY_WEIGHTS[code], START_MS, code)} if HISTORY_WEIGHTS[code] else {}
        assert history == expected, name


def test_the_same_event_or_an_earlier_offset_changes_nothing() -> None:
    profile = applied([event(1, "a", "view", "i1"), event(2, "a", "view", "i2")])
    before = dump_profile(profile)
    for number, offset in ((1, 5), (3, 1), (3, 0)):
        assert not apply_event(profile, event(number, "a", "view", "i3"), offset, RULES)  # type: ignore[arg-type]
        assert dump_profile(profile) == before
    assert apply_event(profile, event(3, "a", "view", "i3"), 2, RULES)  # type: ignore[arg-type]


def test_event_ids_are_forgotten_oldest_first() -> None:
    rules = profile_rules(event_ids_size=3)
    profile = applied([event(n, "a", "view", f"i{n}") for n in range(4)], rules)
    assert len(profile.event_ids) == 24
    assert not apply_event(profile, event(1, "a", "cart", "x"), 10, rules)  # type: ignore[arg-type]
    assert apply_event(profile, event(0, "a", "cart", "x"), 10, rules)  # type: ignore[arg-type]


def test_an_id_is_found_only_where_an_id_begins() -> None:
    profile = Profile(event_ids=bytes(range(24)))
    across = bytes(range(4, 12)).hex() + "0" * 16
    assert apply_event(profile, event(0, "a", "view", "i1") | {"event_id": across}, 0, RULES)  # type: ignore[arg-type]
    within = bytes(range(8, 16)).hex() + "0" * 16
    assert not apply_event(profile, event(0, "a", "view", "i1") | {"event_id": within}, 1, RULES)  # type: ignore[arg-type]


@given(entries, entries)
def test_merging_is_bounded_and_keeps_the_later_time_or_word(old: Entry, new: Entry) -> None:
    both = merge(old, new, RULES)
    assert abs(both.weight) <= RULES.weight_cap
    if (old.weight > 0) == (new.weight > 0):
        assert both.time_ms == max(old.time_ms, new.time_ms)
        assert both == merge(new, old, RULES) or abs(old.weight) == abs(new.weight)
        stronger = max(abs(e.weight) * decay(both.time_ms - e.time_ms, RULES.half_life_ms) for e in (old, new))
        assert abs(both.weight) >= min(stronger, RULES.weight_cap) - 1e-12
    else:
        assert both == (new if new.time_ms >= old.time_ms else old)


def test_a_repeated_view_says_less_each_time() -> None:
    weights = []
    for count in (1, 2, 3):
        weights.append(applied([event(n, "a", "view", "i1") for n in range(count)]).items["i1"].weight)
    assert weights == pytest.approx([0.2, 0.25, 0.3])
    flood = applied([event(n, "a", "view", "i1") for n in range(200)])
    assert flood.items["i1"].weight == RULES.weight_cap


def test_a_purchase_outweighs_the_views_before_it_and_names_the_entry() -> None:
    entry = applied([event(0, "a", "view", "i1"), event(1, "a", "purchase", "i1"), event(2, "a", "view", "i1")]).items["i1"]
    assert entry.event_type == PURCHASE
    assert entry.weight == pytest.approx(1.0 + 2 * 0.25 * 0.2)


def test_a_return_cancels_the_purchase_but_the_item_stays_bought() -> None:
    profile = applied([event(0, "a", "purchase", "i1"), event(1, "a", "return", "i1", at_s=5)])
    assert profile.items["i1"] == Entry(HISTORY_WEIGHTS[RETURN], START_MS + 5000, RETURN)
    assert "i1" in profile.bought


def test_a_late_return_of_an_earlier_purchase_does_not_cancel_the_next_one() -> None:
    profile = applied([event(0, "a", "purchase", "i1", at_s=100), event(1, "a", "return", "i1", at_s=50)])
    assert profile.items["i1"].weight == HISTORY_WEIGHTS[PURCHASE]


def test_a_dismissal_lasts_until_the_next_sign_of_interest() -> None:
    shown = [event(0, "a", "click", "i1"), event(1, "a", "dismiss", "i1", at_s=1)]
    assert dismissed(applied(shown)) == ["i1"]
    assert dismissed(applied([*shown, event(2, "a", "view", "i1", at_s=2)])) == []


def test_the_history_drops_what_counts_least() -> None:
    rules = profile_rules(half_life_ms=1000.0, history_size=3)
    events = [
        event(0, "a", "purchase", "old", at_s=0),
        event(1, "a", "purchase", "strong", at_s=8),
        event(2, "a", "search", query="q", at_s=9),
        event(3, "a", "view", "recent", at_s=9),
    ]
    assert set(applied(events, rules).items) == {"strong", "recent"}
    # Of the others a purchase outlasts the more recent view.
    later = applied([*events, event(4, "a", "view", "new", at_s=19)], rules)
    assert set(later.items) | set(later.queries) == {"strong", "new", "q"}


@given(st.lists(st.tuples(st.sampled_from(("view", "purchase", "search", "dismiss")), st.integers(0, 30), st.integers(0, 50)), max_size=60))
def test_a_profile_is_bounded_and_survives_its_bytes(steps: list[tuple[str, int, int]]) -> None:
    rules = profile_rules(history_size=6, queries_max=2, bought_size=3)
    events = [event(n, "a", kind, f"i{which}", at_s=at_s, query=f"q{which}") for n, (kind, which, at_s) in enumerate(steps)]
    profile = applied(events, rules)
    assert len(profile.items) + len(profile.queries) <= 6
    assert len(profile.queries) <= 2
    assert len(profile.bought) <= 3
    again = load_profile(dump_profile(profile))
    assert again == profile
    assert list(again.items) == list(profile.items), "the order decides ties"


def test_extreme_times_do_no_harm() -> None:
    profile = applied([event(0, "a", "purchase", "i1"), event(1, "a", "purchase", "i1") | {"occurred_at": 1 << 61}])
    assert profile.items["i1"].weight == 1.0
    assert load_profile(dump_profile(profile)) == profile


def test_purchases_beyond_the_bound_are_forgotten_oldest_first() -> None:
    rules = profile_rules(bought_size=2)
    profile = applied([event(n, "a", "purchase", item) for n, item in enumerate(("x", "y", "x", "z"))], rules)
    assert list(profile.bought) == ["x", "z"]
