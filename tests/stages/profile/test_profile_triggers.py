from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.ranking.popularity import EXACT_EXPOSURES, EXPOSURE_STEP
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.request import Request
from streams.ranking.rules import ProfileRules
from streams.ranking.slate.rules import SlateRules
from streams.stages.profile.popularity_counter import PopularityCounter
from streams.stages.profile.profile import Profile
from streams.stages.profile.together_counter import TogetherCounter
from streams.stages.profile.triggers import Triggered, find_triggers
from streams.topics import ITEMS_POPULARITY, ITEMS_TOGETHER
from tests.support.profile_harness import CODECS, event
from tests.support.rules import profile_rules

RULES = profile_rules()
DAY_S = 86_400


def triggered(events: list[dict[str, Any]], rules: ProfileRules = RULES) -> Triggered:
    codec = CODECS.for_topic(ITEMS_POPULARITY)
    counter = PopularityCounter(codec, PopularityTable(codec, rules.popularity_half_life_ms), rules.popularity_half_life_ms)
    profiles = {e["pseudonym"]: Profile() for e in events}
    pairs = TogetherCounter(CODECS.for_topic(ITEMS_TOGETHER), rules.together).begin({e["item_id"] for e in events if e["item_id"]}, {})
    return find_triggers(list(enumerate(events)), profiles, counter.begin(0, 0), pairs, rules)  # type: ignore[arg-type]


def requests(found: Triggered) -> list[Request]:
    return [trigger.request for triggers in found.rounds for trigger in triggers]


def test_a_dismissed_item_is_excluded_until_the_next_sign_of_interest() -> None:
    found = requests(
        triggered(
            [
                event(0, "a", "dismiss", "unloved"),
                event(1, "a", "view", "seen", at_s=600),
                event(2, "a", "click", "unloved", at_s=1200),
                event(3, "a", "view", "seen", at_s=9000),
            ]
        )
    )
    assert "unloved" in found[0].excluded
    assert "unloved" not in found[-1].excluded


def test_what_was_bought_is_excluded_for_its_cooldown() -> None:
    days = RULES.bought_cooldown_ms / 1000 / DAY_S
    found = requests(
        triggered(
            [
                event(0, "a", "purchase", "kettle"),
                event(1, "a", "view", "seen", at_s=(days - 1) * DAY_S),
                event(2, "a", "view", "seen", at_s=(days + 1) * DAY_S),
            ]
        )
    )
    assert ["kettle" in request.excluded for request in found[-2:]] == [True, False]


def test_a_search_is_blended_in_once_however_often_it_was_asked() -> None:
    found = requests(
        triggered(
            [
                event(0, "a", "search", query="tea set"),
                event(1, "a", "search", query="red box", at_s=60),
                event(2, "a", "search", query="tea set", at_s=120),
            ]
        )
    )
    assert found[-1].query == "tea set"
    assert [text for text, _ in found[-1].queries] == ["red box"]


def test_the_second_trigger_of_a_shopper_is_in_the_second_round() -> None:
    found = triggered([event(n, user, "search", query="tea", at_s=n) for n, user in enumerate("aabab")])
    assert [[trigger.offset for trigger in triggers] for triggers in found.rounds] == [[0, 2], [1, 4], [3]]
    assert set(found.changed) == {"k1.a", "k1.b"}
    assert set(found.queries()) == {"tea"}


@given(st.text("abcd", max_size=30), st.integers(1, 12))
def test_groups_hold_every_trigger_once_and_each_shoppers_in_order(users: str, most: int) -> None:
    found = triggered([event(n, user, "search", query="tea", at_s=n) for n, user in enumerate(users)])
    groups = list(found.groups(most))
    flat = [trigger for rounds in groups for triggers in rounds for trigger in triggers]
    assert sorted(trigger.offset for trigger in flat) == list(range(len(users)))
    for user in set(users):
        assert [t.offset for t in flat if t.event["pseudonym"] == f"k1.{user}"] == [n for n, u in enumerate(users) if u == user]
    for rounds in groups:
        assert sum(map(len, rounds)) <= most
        for triggers in rounds:
            assert len({trigger.event["pseudonym"] for trigger in triggers}) == len(triggers)


def outcomes(events: list[dict[str, Any]], slate: SlateRules) -> dict[str, tuple[int, int, int]]:
    """Exposures, dismissals and returns that are published."""
    rules = profile_rules(slate=slate)
    codec = CODECS.for_topic(ITEMS_POPULARITY)
    counter = PopularityCounter(codec, PopularityTable(codec, rules.popularity_half_life_ms), rules.popularity_half_life_ms)
    pairs = TogetherCounter(CODECS.for_topic(ITEMS_TOGETHER), rules.together).begin({e["item_id"] for e in events if e["item_id"]}, {})
    tally = counter.begin(0, 0)
    find_triggers(list(enumerate(events)), {e["pseudonym"]: Profile() for e in events}, tally, pairs, rules)  # type: ignore[arg-type]
    values = [codec.decode(output.value or b"", ()) for output in counter.end(tally, len(events))]
    return {value["item_id"]: (value["exposures"], value["dismissals"], value["returns"]) for value in values}


COUNTS = SlateRules(dismissal_weight=0.1, return_weight=0.1)


def test_exposures_dismissals_and_returns_are_counted_where_something_asks_for_them() -> None:
    events = [
        event(0, "a", "impression", "lamp"),
        event(1, "b", "impression", "lamp"),
        event(2, "a", "dismiss", "lamp"),
        event(3, "b", "purchase", "lamp", at_s=60),
        event(4, "b", "return", "lamp", at_s=90_000),
        event(5, "c", "return", "lamp", at_s=90_000),  # never bought, as far as is known
        event(6, "c", "return", "cup", at_s=90_000),
    ]
    assert outcomes(events, COUNTS) == {"lamp": (2, 1, 1)}
    assert outcomes(events, SlateRules()) == {"lamp": (0, 0, 0)}
    assert outcomes(events, SlateRules(new_share=0.1)) == {"lamp": (2, 0, 0)}


def test_who_dismisses_or_returns_again_and_again_counts_once() -> None:
    events = [event(0, "a", "purchase", "lamp")]
    events += [event(n, "a", kind, "lamp", at_s=n) for n, kind in enumerate(["dismiss", "click", "return"] * 50, start=1)]
    assert outcomes(events, COUNTS) == {"lamp": (0, 1, 1)}


def test_an_item_that_is_shown_all_the_time_is_not_written_all_the_time() -> None:
    exposures = outcomes([event(n, f"u{n}", "impression", "lamp") for n in range(3000)], COUNTS)["lamp"][0]
    assert 2400 < exposures < 3600
    assert (exposures - EXACT_EXPOSURES) % EXPOSURE_STEP == 0
    assert outcomes([event(n, f"u{n}", "impression", "lamp") for n in range(60)], COUNTS) == {"lamp": (60, 0, 0)}


def test_impressions_change_no_popularity_to_the_last_bit() -> None:
    views = [event(n, f"u{n}", "view", "lamp", at_s=1000 * n) for n in range(5)]
    shown = [e for n, one in enumerate(views) for e in (one, event(100 + n, f"u{n}", "impression", "lamp", at_s=1000 * n + 7))]

    def count(events: list[dict[str, Any]]) -> tuple[object, ...]:
        rules = profile_rules(slate=COUNTS)
        codec = CODECS.for_topic(ITEMS_POPULARITY)
        counter = PopularityCounter(codec, PopularityTable(codec, rules.popularity_half_life_ms), rules.popularity_half_life_ms)
        pairs = TogetherCounter(CODECS.for_topic(ITEMS_TOGETHER), rules.together).begin({"lamp"}, {})
        tally = counter.begin(0, 0)
        find_triggers(list(enumerate(events)), {e["pseudonym"]: Profile() for e in events}, tally, pairs, rules)  # type: ignore[arg-type]
        found = tally.changed["lamp"]
        return (found.value, found.as_of_ms, found.others, found.first_ms, found.bought_ms, found.buyers)

    assert count(views) == count(shown)
