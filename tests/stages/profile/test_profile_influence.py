"""One shopper's part in what all are shown: bounded, whatever she sends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.popularity import OTHER_HALF_LIVES_MS, decay
from streams.ranking.rules import CODES, DAY_MS, POPULARITY_WEIGHTS
from streams.stages.profile.influence import breadth
from streams.topics import ITEMS_POPULARITY
from tests.support.profile_harness import CODECS, START_MS, ProfileHarness, event, event_records, of_topic
from tests.support.rules import profile_rules

RULES = replace(profile_rules(), recommend=False, popularity_breadth=1)
HALF_LIVES = (RULES.popularity_half_life_ms, *OTHER_HALF_LIVES_MS)
KINDS = [kind for kind in CODES if kind not in ("search", "impression")]
dones = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(["i001", "i002"]), st.integers(0, 60 * 24 * 30)), max_size=40)


async def counts(done: list[tuple[str, str, int]], rules: object = RULES) -> dict[str, tuple[list[float], int]]:
    """Of each item the four counts, and the moment that they are of, after one shopper did this in this order."""
    harness = ProfileHarness(rules=rules)  # type: ignore[arg-type]
    events = [event(n, "a", kind, item, at_s=60 * minute) for n, (kind, item, minute) in enumerate(done)]
    result = await harness.run(event_records(events)) if events else None
    found = {}
    for record in of_topic(result.outputs, ITEMS_POPULARITY) if result is not None else []:
        value = CODECS.for_topic(ITEMS_POPULARITY).decode(record.value)
        found[value["item_id"]] = ([value["count"], value["recent"], value["fortnight"], value["season"]], value["as_of"])
    return found


@settings(max_examples=150, deadline=None)
@given(dones)
@pytest.mark.slow
async def test_a_shopper_never_counts_more_than_her_weightiest_event(done: list[tuple[str, str, int]]) -> None:
    for item, (found, as_of_ms) in (await counts(done)).items():
        own = [(POPULARITY_WEIGHTS[CODES[kind]], START_MS + 60_000 * minute) for kind, of, minute in done if of == item]
        for count, half_life_ms in zip(found, HALF_LIVES, strict=True):
            assert count <= max(weight * decay(as_of_ms - at_ms, half_life_ms) for weight, at_ms in own) + 1e-4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["view", "cart", "purchase"]), st.integers(0, 60 * 24 * 30)), min_size=1, max_size=20))
async def test_who_does_things_in_order_counts_exactly_as_her_weightiest_event(done: list[tuple[str, int]]) -> None:
    ordered = [(kind, "i001", minute) for kind, minute in sorted(done, key=lambda one: one[1])]
    ((found, as_of_ms),) = (await counts(ordered)).values()
    for count, half_life_ms in zip(found, HALF_LIVES, strict=True):
        wanted = (POPULARITY_WEIGHTS[CODES[kind]] * decay(as_of_ms - START_MS - 60_000 * at, half_life_ms) for kind, _, at in ordered)
        assert count == pytest.approx(max(wanted), abs=1e-4)


async def test_what_hides_behind_weightier_history_counts_once_too() -> None:
    """Forty views weigh more in the history than a cart."""
    done = [("view", "i001", n) for n in range(40)] + [("cart", "i001", 40 + n) for n in range(100)]
    ((found, _),) = (await counts(done)).values()
    assert max(found) <= 0.3 + 1e-4


async def test_likes_and_dismissals_in_turn_count_once() -> None:
    done = [(kind, "i001", n) for n in range(200) for kind in ("view", "dismiss")]
    ((found, _),) = (await counts(done)).values()
    assert max(found) <= 0.05 + 1e-9


async def test_a_shopper_has_so_many_events_a_day() -> None:
    done = [("purchase", f"i{n:03d}", n) for n in range(20)] + [("purchase", f"i{n:03d}", 60 * 24 * 2 + n) for n in range(20, 40)]
    found = await counts(done, replace(RULES, popularity_events_a_day=5))
    assert sorted(found) == [f"i{n:03d}" for n in (*range(5), *range(20, 25))]


async def test_going_round_many_items_gains_nothing() -> None:
    rules = replace(RULES, popularity_events_a_day=10)
    done = [("purchase", f"i{n % 12:03d}", 60 * 24 * (n // 10)) for n in range(240)]
    for item, (found, _) in (await counts(done, rules)).items():
        assert max(found) <= 1 + 1e-4, item


async def test_other_shoppers_count_as_before() -> None:
    harness = ProfileHarness(rules=RULES)
    events = [event(n, f"u{n}", "purchase", "i001", at_s=0) for n in range(10)]
    (record,) = of_topic((await harness.run(event_records(events))).outputs, ITEMS_POPULARITY)
    assert CODECS.for_topic(ITEMS_POPULARITY).decode(record.value)["count"] == 10
    assert DAY_MS == 86_400_000


async def test_who_pushes_one_item_counts_little_and_who_has_others_in_full() -> None:
    rules = replace(RULES, popularity_breadth=5)
    alone = await counts([("purchase", "i001", n) for n in range(500)], rules)
    assert max(alone["i001"][0]) == pytest.approx(0.02, abs=1e-4)
    broad = await counts([("view", f"i{n:03d}", n) for n in range(2, 6)] + [("purchase", "i001", 9)], rules)
    assert broad["i001"][0] == pytest.approx([1.0] * 4, abs=1e-4)
    # The same item again and again is not breadth.
    again = await counts([("view", "i002", n) for n in range(50)] + [("purchase", "i001", 60)], rules)
    assert max(again["i001"][0]) == pytest.approx(0.265, abs=1e-4)


@given(st.integers(1, 500), st.integers(1, 50))
def test_breadth_rises_to_one(items: int, full: int) -> None:
    assert 0 < breadth(items, full) <= breadth(items + 1, full) <= 1
    assert (breadth(items, full) == 1) == (items >= full)
