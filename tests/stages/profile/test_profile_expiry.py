"""Shoppers who did nothing for long are removed, whatever is known of them; the others, and what is no shopper's, stay."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from streams.ranking.rules import ProfileRules
from streams.settings import Settings
from streams.stages.feedback.ledger import Past, Shopper
from streams.stages.feedback.rules import FeedbackRules
from streams.stages.profile.expiry import last_active_ms
from streams.stages.profile.profile import Moved, Profile, dump_profile
from streams.stages.profile.together_counter import is_profile
from tests.support.profile_harness import ProfileHarness, consent, event, event_records, identify, link_records

DAY = 86_400_000


def shop_of(days: float) -> ProfileHarness:
    shop = ProfileHarness()
    shop.stage._rules = replace(shop.stage._rules, max_age_ms=days * DAY)
    return shop


async def test_who_did_nothing_for_long_is_removed() -> None:
    shop = shop_of(days=1)
    events = [event(1, "anna", "view", "i003"), event(2, "ben", "purchase", "i003"), event(3, "ben", "view", "i004", at_s=2 * 86_400)]
    await shop.run(event_records(events))
    assert shop.stage.expired(0, shop.state) == [b"k1.anna"]
    assert any(not is_profile(key) for key in shop.state), "what is counted of items is nobody's"


async def test_the_time_of_a_decision_is_no_event_time() -> None:
    shop = shop_of(days=1)
    await shop.run(event_records([event(1, "anna", "view", "i003"), consent(2, "ben") | {"occurred_at": 10**15}]))
    assert shop.stage.expired(0, shop.state) == []


async def test_marks_stay_and_so_does_everybody_where_no_age_is_set() -> None:
    shop = shop_of(days=1)
    events = [event(1, "anna", "view", "i003"), consent(2, "anna", "personalization"), event(3, "ben", "view", "i003", at_s=10**6)]
    await shop.run(event_records(events))
    assert shop.stage.expired(0, shop.state) == []
    never = ProfileHarness()
    never.stage._rules = replace(never.stage._rules, max_age_ms=inf)
    await never.run(event_records([event(1, "anna", "view", "i003"), event(2, "ben", "view", "i003", at_s=10**8)]))
    assert never.stage.expired(0, never.state) == []
    assert never.stage.expired(1, never.state) is None, "nothing was seen of this partition"


async def test_what_came_by_a_log_in_or_from_another_pseudonym_counts_too() -> None:
    shop = shop_of(days=1)
    found = await shop.run(event_records([event(1, "b", "view", "i003", at_s=3 * 86_400), identify(2, "b", "anna", at_s=3 * 86_400)]))
    await shop.run(link_records(found.outputs))
    assert b"k1.anna" not in (shop.stage.expired(0, shop.state) or [])
    assert last_active_ms(Profile(moved=Moved(bought={"i1": 7}))) == 7
    assert last_active_ms(Profile(applied_offset=3)) is None
    old = dump_profile(Profile(moved=Moved(bought={"i1": 7})))
    assert shop.stage.expired(0, {b"k2.anna": old}) == [b"k2.anna"]


def test_in_feedback_whoever_something_is_waited_for_stays() -> None:
    old = Past(0, 1000, "item", "i1", "view")
    assert Shopper(history=[old]).is_idle_since(1001) and not Shopper(history=[old]).is_idle_since(1000)
    assert not Shopper().is_idle_since(1001), "nothing tells a time"
    assert not Shopper(history=[old], is_refused=True).is_idle_since(1001)
    assert not Shopper(history=[old], forgotten={"i2": 5}).is_idle_since(1001)


@pytest.mark.parametrize(("days", "expected"), [(400.0, 400.0 * DAY), (0.0, inf)])
def test_by_setting(days: float, expected: float) -> None:
    settings = Settings(shopper_max_age_days=days)
    assert ProfileRules.from_settings(settings).max_age_ms == expected
    assert FeedbackRules.from_settings(settings).max_age_ms == expected
