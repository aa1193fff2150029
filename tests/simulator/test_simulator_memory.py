"""The simulated shop before the stages in memory: the same again, and branches that leave each other alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.simulated import (
    EXPOSURES,
    START_MS,
    Arm,
    Meter,
    RememberingEncoder,
    Size,
    compared,
    fitted,
    measure,
    scores_served,
    threshold_for,
    warmed,
)
from encoders.hashing import HashingEncoder
from streams.ranking.learned.related import nothing_related
from streams.ranking.slate.rules import SlateRules
from streams.serde.codec import local_codecs
from streams.serde.records import Recommendation
from streams.settings import Settings
from streams.simulator.memory import MemoryShop
from streams.simulator.shop import Shop
from tests.support.learned_shop import additive_ranker

HOUR_MS = 3_600_000
SMALL = Size(items=60, launched=12, shoppers=12, warm_days=1, launch_days=1, horizon_days=1)


def started(shop: Shop, **more: Any) -> MemoryShop:
    run = MemoryShop(shop, Settings(), local_codecs(), RememberingEncoder(HashingEncoder(32)), START_MS, **more)
    run.publish(shop.items)
    return run


def seen(run: MemoryShop, hours: int) -> list[tuple[str, list[str], list[float]]]:
    found = []

    def note(recommendation: Recommendation, user_id: str, now_ms: int) -> None:
        found.append((user_id, [one["item_id"] for one in recommendation["items"]], [one["score"] for one in recommendation["items"]]))
        run.shop.receive(recommendation, user_id, now_ms)

    run.deliver = note
    run.run(run.now_ms + hours * HOUR_MS, HOUR_MS)
    return found


def make_shop() -> Shop:
    return Shop(5, 72, 12, START_MS, 6 * HOUR_MS, 12)


def test_it_is_the_same_again_and_a_branch_disturbs_nothing() -> None:
    first, second = started(make_shop()), started(make_shop())
    assert seen(first, 8) == seen(second, 8)
    rules = replace(first.rules, slate=SlateRules(new_share=0.5, diversity_weight=0.3))
    other = first.branch(rules, None)
    other.publish(other.shop.launch(12))
    assert seen(other, 12)
    assert first.branch(first.rules, None).shop.items == first.shop.items
    assert len(other.shop.items) == len(first.shop.items) + 12
    assert seen(first, 12) == seen(second, 12)


def test_a_branch_goes_on_as_the_shop_itself_would() -> None:
    first = started(make_shop())
    assert seen(first, 8)
    branch = first.branch(first.rules, None)
    assert seen(branch, 12) == seen(first, 12)


def test_items_that_are_held_back_are_seen_by_nobody_before_they_are_launched() -> None:
    run = started(make_shop())
    held = {item.item_id for item in Shop(5, 72, 12, START_MS, 6 * HOUR_MS).items[60:]}
    assert not held & {item for _, items, _ in seen(run, 12) for item in items}
    launched = run.shop.launch(5)
    assert {item.item_id for item in launched} < held
    run.publish(launched)
    assert len(run.matrix) == 65
    assert [len(run.shop.launch(100)), len(run.shop.launch(100))] == [7, 0]


def test_training_pairs_are_made_where_they_are_wanted() -> None:
    learning, other = started(make_shop(), learns=True), started(make_shop())
    seen(learning, 12)
    seen(other, 12)
    assert learning.pairs and not other.pairs
    assert fitted(learning) is None, "a past that is too short"


def test_an_arm_is_measured_and_can_be_compared() -> None:
    settings, encoder = Settings(feedback_records="recommendation"), RememberingEncoder(HashingEncoder(32))
    run = warmed(3, SMALL, settings, encoder)
    plain = measure(run, Arm(learned=False), None, SMALL, run.rules)
    again = measure(run, Arm(learned=False), None, SMALL, run.rules)
    assert plain == again
    new = measure(run, Arm(SlateRules(new_share=0.5), learned=False), None, SMALL, run.rules)
    assert new["hours_to_ten_exposures"] <= 24
    found = compared({"a": [plain, new], "b": [new, plain]}, "a", "b", "sessions")
    assert found["low"] <= found["mean"] <= found["high"]


def test_places_for_new_items_show_them_more_often() -> None:
    settings, encoder = Settings(feedback_records="recommendation"), RememberingEncoder(HashingEncoder(32))
    size = replace(SMALL, shoppers=24, warm_days=3)  # long enough for the other items to be known
    run = warmed(3, size, settings, encoder)
    plain, new = (
        measure(run, Arm(SlateRules(new_share=share, new_exposures=8), learned=False), None, size, run.rules)[
            "new_items_share_of_exposures"
        ]
        for share in (0.0, 0.5)
    )
    assert new > 1.5 * plain


def test_a_rankers_lists_are_as_long_as_those_of_the_sum() -> None:
    run = warmed(3, SMALL, Settings(feedback_records="recommendation", threshold=0.45), RememberingEncoder(HashingEncoder(32)))
    ranker = additive_ranker(1, nothing_related())
    scores, lists = scores_served(run, None)
    expected = (scores > 0.45).sum() / lists
    assert 0 < expected < 10
    found, own_lists = scores_served(run, ranker)
    assert (found > threshold_for(ranker, run)).sum() / own_lists == pytest.approx(expected, abs=0.1)


def test_the_tenth_exposure_is_the_tenth() -> None:
    run = started(make_shop())
    meter = Meter(run)
    meter.launched_ms = {item.item_id: START_MS for item in run.shop.items}
    run.run(START_MS + 48 * HOUR_MS, HOUR_MS)
    found = meter.result(48 * HOUR_MS)
    reached = sum(count >= EXPOSURES for count in meter.exposed.values())
    assert found["reached_ten_exposures"] == pytest.approx(reached / len(run.shop.items), abs=0.02)
