"""Logs of features joined with what became of them, learnt from, and estimated by."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

from streams.ranking.learned.features import FEATURES, LEVELS, PLACE, schema
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import nothing_related
from streams.serde.records import FeatureLog, TrainingPair
from streams.training.learned.fit import RankerRule, fit_ranker
from streams.training.learned.lists import Lists
from streams.training.learned.logged import MOST_OF_SHOPPER, REFUSED_TIMES, join, logged_lists, would_have_earned
from streams.training.learned.past import PastShop
from tests.support.grouped_shop import RULES, bought, matrix, purchases
from tests.support.profile_harness import START_MS

WINDOW_MS = 1_800_000
LATER_MS = START_MS + 10 * WINDOW_MS
VERSION = "v1"
SHOPPER = "k1.u"
ITEMS = [f"i{n}" for n in range(6)]


def log(number: int, *, shown: list[int] | None = None, answered: bool = True, at_ms: int = START_MS, **changes: Any) -> FeatureLog:
    """Of six candidates, whose levels are random; three of them were recommended."""
    rng = np.random.default_rng(number)
    found = FeatureLog(
        log_id=f"{number:032x}",
        pseudonym=SHOPPER,
        recommendation_id=f"r{number}" if answered else None,
        policy="behaviour" if answered else "none",
        source_offset=number,
        created_at=at_ms,
        model_version=VERSION,
        features=schema(),
        items=ITEMS,
        levels=rng.integers(0, LEVELS, (len(ITEMS), len(FEATURES)), np.uint8).tobytes(),
        shown=([2, 0, 5] if shown is None else shown) if answered else [],
        boards=[],
    )
    found.update(changes)  # type: ignore[typeddict-item]
    return found


def pair(
    item: str, outcome: str, *, of: str | None = None, rank: int | None = None, at_ms: int = START_MS + 1000, **changes: Any
) -> TrainingPair:
    rewards = {"purchase": 1.0, "cart": 0.5, "click": 0.2, "view": 0.2, "dismiss": -0.5, "shown": 0.0}
    found = bought(SHOPPER, item, at_ms)
    found.update(outcome=outcome, reward=rewards[outcome], recommendation_id=of, rank=rank, **changes)  # type: ignore[typeddict-item]
    return found


LAST = pair("i9", "click", at_ms=LATER_MS)
"""By it, all windows are over."""


def test_labels_are_graded() -> None:
    pairs = [
        pair("i2", "purchase", of="r1", rank=0),
        pair("i0", "dismiss", of="r1", rank=1),
        pair("i5", "shown", of="r1", rank=2),
        pair("i1", "cart"),
        pair("i3", "view"),
        pair("i4", "click", at_ms=START_MS + WINDOW_MS + 1),  # too late
        pair("elsewhere", "purchase"),
        LAST,
    ]
    (one,) = join([log(1)], pairs, VERSION, window_ms=WINDOW_MS).joined
    assert one.labels.tolist() == [-1, 2, 3, 1, 0, 0]
    assert one.rewards.tolist() == [1.0, -0.5, 0.0]
    (silent,) = join([log(1, answered=False)], pairs, VERSION, window_ms=WINDOW_MS).joined
    assert silent.labels.tolist() == [0, 2, 0, 1, 0, 0], "what belongs to a recommendation is not organic"


def test_what_was_bought_and_returned_counts_against() -> None:
    returned = {"kind": "item", "ref": "i2", "event_type": "return", "age_ms": 5000}
    pairs = [pair("i2", "purchase", of="r1", rank=0), pair("i1", "purchase"), {**LAST, "history": [returned]}]
    (one,) = join([log(1)], pairs, VERSION, window_ms=WINDOW_MS).joined  # type: ignore[list-item]
    assert one.labels.tolist() == [0, 3, -1, 0, 0, 0]
    before = [{**LAST, "history": [{**returned, "age_ms": LATER_MS - START_MS}]}, *pairs[:2]]
    (one,) = join([log(1)], before, VERSION, window_ms=WINDOW_MS).joined  # type: ignore[list-item]
    assert one.labels[2] == 3, "she returned another one, before"


def test_what_cannot_be_used_is_left_out_and_counted() -> None:
    logs = [
        log(1),
        log(2, features="000000000000"),
        log(3, features="000000000000"),
        log(4, model_version="v0"),
        log(5, levels=b"\0" * 7),
        log(6, shown=[0, 6]),
        log(7, at_ms=LATER_MS - 10),
        log(8),
    ]
    pairs = [pair("i2", "shown", of="r1", rank=0), pair("i4", "click", of="r8", rank=0), LAST]
    found = join(logs, pairs, VERSION, window_ms=WINDOW_MS)
    assert [one.log["log_id"] for one in found.joined] == [logs[0]["log_id"]]
    assert found.left_out == {
        "of another table of features": 2,
        "of another model": 1,
        "malformed": 2,
        "not settled yet": 1,
        "of an answer that was not published": 1,
    }
    told = "1 logs of features used, left out: 2 malformed, 1 not settled yet, 1 of an answer that was not published, 1 of another model"
    assert str(found) == f"{told}, 2 of another table of features"


def test_reactions_at_places_that_are_seldom_seen_count_more() -> None:
    pairs = [pair("i2", "dismiss", of="r1", rank=0), pair("i5", "click", of="r1", rank=2), LAST]
    joined = join([log(1), log(2, answered=False, at_ms=START_MS + 2000)], pairs, VERSION, window_ms=WINDOW_MS).joined
    lists = logged_lists(joined, {0: 1.0, 1: 0.5, 2: 0.25}, window_ms=WINDOW_MS)
    assert lists is not None
    assert lists.sizes.tolist() == [6 - 1 + REFUSED_TIMES] * 4, "one is there four times; without anything taken, a log says nothing"
    assert lists.labels.tolist() == [0, 0, 0, 0, 0, 0, 0, 1] * 4
    own = np.frombuffer(log(1)["levels"], np.uint8).reshape(6, -1)
    assert (lists.levels == np.tile(own[[0, 1, 2, 2, 2, 3, 4, 5]], (4, 1))).all()
    assert lists.at_ms.tolist() == [START_MS + WINDOW_MS] * 4


def test_a_list_is_there_as_often_as_its_place_says_on_average() -> None:
    ids = [blake2b(b"%d" % number, digest_size=16).hexdigest() for number in range(2000)]
    logs = [log(number, log_id=log_id, pseudonym=f"k1.u{number}") for number, log_id in enumerate(ids)]
    pairs = [pair("i5", "click", of=f"r{number}", rank=2) for number in range(len(logs))]
    lists = logged_lists(join(logs, [*pairs, LAST], VERSION, window_ms=WINDOW_MS).joined, {2: 0.7}, window_ms=WINDOW_MS)
    assert lists is not None
    assert len(lists.sizes) / len(logs) == pytest.approx(1 / 0.7, abs=0.05)


def test_labels_that_are_all_negative_say_nothing() -> None:
    pairs = [pair("i2", "dismiss", of="r1", rank=0), pair("i0", "dismiss", of="r1", rank=1), LAST]
    joined = join([log(1)], pairs, VERSION, window_ms=WINDOW_MS)
    assert logged_lists(joined.joined, {}, window_ms=WINDOW_MS) is None
    shown = would_have_earned(joined.joined, flat(), {})
    assert shown.served.mean == pytest.approx(-1.0)


def flat(place: str | None = None, slope: float = 1.0) -> Ranker:
    """Scores grow with one feature, or are all alike."""
    tables = np.zeros((len(FEATURES), LEVELS), np.float32)
    if place is not None:
        tables[PLACE[place]] = slope * np.arange(LEVELS)
    return Ranker(tables, 0.0, 1.0, 0.0, nothing_related(), no_forest())


def by_trend(number: int) -> FeatureLog:
    """What was recommended is what scores by the trend are best, in that order."""
    found = log(number, at_ms=START_MS + number)
    levels = np.frombuffer(found["levels"], np.uint8).reshape(len(ITEMS), -1)
    found["shown"] = np.lexsort((np.arange(len(ITEMS)), -levels[:, PLACE["trend"]].astype(int)))[:3].tolist()
    found["pseudonym"] = f"k1.u{number}"
    return found


def test_a_ranker_like_the_one_that_served_would_have_earned_as_much() -> None:
    logs = [by_trend(number) for number in range(30)]
    pairs = [pair(one["items"][one["shown"][1]], "purchase", of=one["recommendation_id"], rank=1) for one in logs[::2]]
    joined = join(logs, [*pairs, LAST], VERSION, window_ms=WINDOW_MS).joined
    propensity = {0: 1.0, 1: 0.5, 2: 0.25}
    same = would_have_earned(joined, flat("trend"), propensity)
    assert same.served.mean == same.ips.mean == pytest.approx(0.5)
    assert same.gain.mean == pytest.approx(0) and same.supported == 1
    other = would_have_earned(joined, flat("trend", -1.0), propensity)
    assert other.supported < 0.1, "the other end of the list was never shown"
    assert other.answers == other.shoppers == 30


def test_a_shopper_who_clicks_one_item_thousands_of_times_has_her_share_and_no_more() -> None:
    logs = [log(n, at_ms=START_MS + n) for n in range(5000)]
    pairs = [pair("i2", "click", of=f"r{n}", rank=0, at_ms=START_MS + n + 1) for n in range(5000)]
    found = join([*logs, by_trend(7000)], [*pairs, LAST], VERSION, window_ms=WINDOW_MS)
    assert len(found.joined) == MOST_OF_SHOPPER + 1
    assert found.left_out["beyond a shopper's share"] == 5000 - MOST_OF_SHOPPER
    lists = logged_lists(found.joined, {}, window_ms=WINDOW_MS)
    assert lists is not None and len(lists.sizes) == MOST_OF_SHOPPER


def some_lists(count: int, refused: bool) -> Lists | None:
    """Logs of which one of six candidates was taken; what was refused, if anything, was cheap."""
    rng = np.random.default_rng(1)
    logs, pairs = [], [LAST]
    for number in range(count):
        levels = np.full((len(ITEMS), len(FEATURES)), 128, np.uint8)
        levels[:, PLACE["price"]] = rng.permutation([20, 20, 20, 220, 220, 220])
        logs.append(log(number, shown=[0, 1, 2, 3, 4, 5], levels=levels.tobytes(), pseudonym=f"k1.u{number}"))
        taken = int(rng.integers(len(ITEMS)))
        pairs.append(pair(ITEMS[taken], "click", of=f"r{number}", rank=taken))
        for place in np.flatnonzero(levels[:, PLACE["price"]] < 128).tolist() if refused else []:
            if place != taken:
                pairs.append(pair(ITEMS[place], "dismiss", of=f"r{number}", rank=place))
    return logged_lists(join(logs, pairs, VERSION, window_ms=WINDOW_MS).joined, {}, window_ms=WINDOW_MS)


def cheap_less_dear(logged: Lists | None) -> float:
    past = PastShop(purchases(100), RULES, exclude_seen=True)
    found = fit_ranker(past, matrix(), RULES, RankerRule(moments=3, threads=1, least_lists=50), logged=logged)
    assert found is not None
    if logged is not None:
        assert f"({len(logged.sizes)} of them logged)" in found.ranker.fitted
    levels = np.full((2, len(FEATURES)), 128, np.uint8)
    levels[:, PLACE["price"]] = (20, 220)
    scores = found.ranker.scores(levels)
    return float(scores[0] - scores[1])


@pytest.mark.slow
def test_what_was_refused_counts_less_than_what_was_left() -> None:
    left, refused = cheap_less_dear(some_lists(600, refused=False)), cheap_less_dear(some_lists(600, refused=True))
    assert refused < left - 0.01
    assert abs(left) < abs(refused) / 2
