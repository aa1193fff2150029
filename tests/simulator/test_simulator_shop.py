"""The simulated shop: deterministic, believable, and honest about the effect of recommending."""

from __future__ import annotations

import functools
import random
from collections import Counter

import pytest

from streams.errors import Reason
from streams.simulator.accounting import percentile
from streams.simulator.catalogue import make_catalogue
from streams.simulator.groups import GroupOutcome
from streams.simulator.shop import Shop

HOUR = 3_600_000


@functools.cache
def run(policy: str, seed: int = 1, hours: int = 72) -> tuple[Shop, Counter[str]]:
    """A shop that is over, and how many events of each kind there were; several tests look at it."""
    shop = Shop(seed, 800, 400, 0, 6 * HOUR)
    rng = random.Random(seed)
    shoppers = {s.user_id: s for s in shop.shoppers}
    kinds: Counter[str] = Counter()
    for step in range(hours * 6):
        now = step * HOUR // 6
        for emission in shop.step(now):
            if not isinstance(emission.value, dict) or emission.expected is not None or emission.duplicate:
                continue
            kinds[emission.value["event_type"]] += 1
            if policy == "none" or emission.value["event_type"] not in ("view", "search"):
                continue
            some = rng.sample(shop.items, 200)
            if policy == "good":
                some.sort(key=lambda item: -shoppers[emission.user_id].affinity(item))
            shop.receive({"recommendation_id": "0" * 32, "items": [{"item_id": i.item_id} for i in some[:10]]}, emission.user_id, now)
    return shop, kinds


def test_titles_are_different_and_in_two_languages() -> None:
    items = make_catalogue(4000, random.Random(1))
    assert len({item.title for item in items}) == 4000
    chinese = sum(not item.title.isascii() for item in items)
    assert 1500 < chinese < 2500
    assert len({item.value["category"] for item in items}) >= 24
    with pytest.raises(ValueError, match="at most"):
        make_catalogue(10**6, random.Random(1))


def test_the_same_seed_gives_the_same_shop() -> None:
    def history(seed: int) -> list[object]:
        shop = Shop(seed, 300, 50, 0, 6 * HOUR)
        return [tuple(e) for hour in range(24) for e in shop.step(hour * HOUR)]

    first = repr(history(3))
    assert repr(history(3)) == first
    assert repr(history(4)) != first


@pytest.mark.slow
def test_every_kind_of_event_and_of_breakage_happens() -> None:
    shop, kinds = run("random")
    assert set(kinds) == {"view", "click", "search", "cart", "purchase", "return", "impression", "dismiss"}
    fresh = Shop(2, 300, 300, 0, 3 * HOUR)
    emissions = [e for hour in range(72) for e in fresh.step(hour * HOUR)]
    reasons = {e.expected for e in emissions if e.expected is not None}
    assert len(reasons) == 12
    assert Reason.UNDECODABLE in reasons
    assert any(e.duplicate for e in emissions)
    queries = [e.value["query"] for e in emissions if isinstance(e.value, dict) and e.value["query"]]
    assert any("@" in query for query in queries), "some shoppers type their address into the search box"
    assert shop.secrets()


@pytest.mark.slow
def test_only_relevant_recommendations_help_much() -> None:
    outcomes = {policy: run(policy)[0].outcome() for policy in ("none", "random", "good")}
    none, random_, good = outcomes["none"], outcomes["random"], outcomes["good"]
    assert none.uplift_interval[0] < 0 < none.uplift_interval[1]
    assert good.uplift_interval[0] > 0
    assert good.treated_rate - good.control_rate > 4 * (random_.treated_rate - random_.control_rate)


def test_the_control_group_sees_nothing() -> None:
    shop, _ = run("none", hours=1)
    control = next(s for s in shop.shoppers if s.control)
    assert not shop.receive({"recommendation_id": "0" * 32, "items": [{"item_id": shop.items[0].item_id}]}, control.user_id, 0)
    assert not shop.receive({"recommendation_id": "0" * 32, "items": []}, "nobody", 0)


def test_rates_and_percentiles() -> None:
    outcome = GroupOutcome(1000, 200, 500, 50)
    assert (outcome.treated_rate, outcome.control_rate) == (0.2, 0.1)
    low, high = outcome.uplift_interval
    assert low < 0.1 < high
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0
