"""The shop of the past beside what the profile stage itself has after the same events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.records import BatchResult
from streams.ranking.popularity import DAY_MS
from streams.ranking.rules import DISMISS
from streams.ranking.together import publishable
from streams.ranking.together_table import TogetherTable
from streams.serde.records import TrainingPair
from streams.stages.profile.profile import load_profile
from streams.stages.profile.together_counter import is_profile, load_pairs, state_key
from streams.topics import ITEMS_POPULARITY
from streams.training.learned.past import GRADES, VISIT_MS, PastShop
from tests.support.profile_harness import START_MS, TITLES, ProfileHarness, event, event_records, of_topic
from tests.support.rules import profile_rules

RULES = replace(profile_rules(), recommend=False)
ITEMS = list(TITLES)[:12]
REWARDS = {"purchase": 1.0, "cart": 0.5, "click": 0.2, "view": 0.2, "dismiss": -0.5}
Did = tuple[str, str, str, int]
"""Shopper, what she did, with which item, and how many minutes after the start."""


def pair_of(number: int, did: Did) -> TrainingPair:
    shopper, kind, item, minutes = did
    return TrainingPair(
        pair_id=blake2b(b"%d" % number, digest_size=16).hexdigest(),
        pseudonym=f"k1.{shopper}",
        history=[],
        item_id=item,
        outcome=kind,
        reward=REWARDS[kind],
        recommendation_id=None,
        rank=None,
        model_version=None,
        occurred_at=START_MS + minutes * 60_000,
    )


def past_of(done: Sequence[Did], *, exclude_seen: bool = False) -> PastShop:
    return PastShop([pair_of(number, did) for number, did in enumerate(done)], RULES, exclude_seen=exclude_seen)


async def test_what_was_sent_back_counts_as_the_stage_counts_it() -> None:
    done = [
        ("a", "purchase", ITEMS[0], 10),
        ("a", "purchase", ITEMS[1], 20),
        ("a", "return", ITEMS[0], 3000),
        ("a", "click", ITEMS[2], 9000),
    ]
    shop, _ = await staged(done)
    *pairs, last = [pair_of(number, did) for number, did in enumerate(done) if did[1] != "return"]
    history = [("purchase", ITEMS[0], 10), ("purchase", ITEMS[1], 20), ("return", ITEMS[0], 3000)]
    told = [{"kind": "item", "ref": item, "event_type": kind, "age_ms": (9000 - minutes) * 60_000} for kind, item, minutes in history]
    again = {**last, "pair_id": "0" * 32, "occurred_at": last["occurred_at"] + 5 * 60_000, "item_id": ITEMS[3]}
    later = [{**one, "age_ms": one["age_ms"] + 5 * 60_000} for one in told]
    past = PastShop([*pairs, {**last, "history": told}, {**again, "history": later}], RULES, exclude_seen=False)  # type: ignore[typeddict-item]
    past.advance(at(9001))
    (wanted,) = past.wanted(at(9001), past.end_ms, 10)
    served = load_profile(shop.state[b"k1.a"])
    assert dict(zip(wanted.request.items, wanted.request.item_entries, strict=True)) == served.items
    assert served.items[ITEMS[0]].weight < 0


def telling(pair: TrainingPair, done: Sequence[Did]) -> TrainingPair:
    """The pair with a history that tells of these returns and searches."""
    history = [
        {
            "kind": "query" if kind == "search" else "item",
            "ref": ref,
            "event_type": kind,
            "age_ms": pair["occurred_at"] - at(minutes),
        }
        for _, kind, ref, minutes in done
        if at(minutes) <= pair["occurred_at"]
    ]
    return {**pair, "history": history}  # type: ignore[typeddict-item]


async def test_searches_are_in_a_history_as_the_stage_has_them() -> None:
    shop = ProfileHarness(rules=RULES)
    done = [("a", "click", ITEMS[0], 10), ("a", "search", "red box", 20), ("a", "search", "blue tea", 30), ("a", "search", "red box", 400)]
    events = [
        event(n, who, kind, None if kind == "search" else ref, at_s=60 * minutes, query=ref if kind == "search" else None)
        for n, (who, kind, ref, minutes) in enumerate(done)
    ]
    await shop.run(event_records(events))
    first = pair_of(0, done[0])
    told = [telling(pair_of(n, ("a", "click", ITEMS[n], minutes)), done[1:]) for n, minutes in ((1, 50), (2, 500))]
    past = PastShop([first, *told], RULES, exclude_seen=False)
    past.advance(at(450))
    (wanted,) = past.wanted(at(450), past.end_ms, 10)
    served = load_profile(shop.state[b"k1.a"])
    assert dict(wanted.request.queries) == served.queries and len(served.queries) == 2
    assert past.texts == ["blue tea", "red box"]


def test_what_is_turned_to_soon_after_a_search_answers_it() -> None:
    did = [
        ("a", "click", ITEMS[0], 10),
        ("a", "search", "before", 20),
        ("a", "search", "in vain", 100),
        ("a", "search", "red box", 200),
        ("a", "click", ITEMS[1], 200),
        ("a", "purchase", ITEMS[2], 210),
        ("a", "click", ITEMS[3], 211),
        ("a", "search", "second", 300),
        ("a", "click", ITEMS[4], 301),
        ("b", "search", "a stranger's", 150),
        ("b", "click", ITEMS[5], 155),
        ("c", "search", "not over yet", 395),
        ("c", "click", ITEMS[6], 396),
    ]
    searches = [one for one in did if one[1] == "search"]
    pairs = [telling(pair_of(n, one), [s for s in searches if s[0] == one[0]]) for n, one in enumerate(did) if one[1] != "search"]
    past = PastShop(pairs, RULES, exclude_seen=False)
    past.advance(at(50))
    found = {one.shopper[-1]: one for one in past.searched(at(50), at(400), 10)}
    assert set(found) == {"a", "b"}
    assert found["a"].request.query == "red box" and found["a"].grades == {ITEMS[1]: 1, ITEMS[2]: 3} and found["a"].at_ms == at(200)
    assert [text for text, _ in found["a"].request.queries] == ["before"] and found["a"].request.items == [ITEMS[0]]
    assert found["b"].request.query == "a stranger's" and not found["b"].request.items
    again = past.searched(at(20), at(400), 10)
    assert {one.request.query for one in again} == {"red box", "a stranger's"}, "a search in vain is passed over"
    assert len(past.searched(at(50), at(400), 1)) == 1


def at(minutes: int) -> int:
    return START_MS + minutes * 60_000


doings = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from(list(REWARDS)), st.sampled_from(ITEMS), st.integers(0, 60 * 24 * 40)), max_size=60
)


async def staged(done: Sequence[Did]) -> tuple[ProfileHarness, BatchResult]:
    """The stage after these events in order of time."""
    shop = ProfileHarness(rules=RULES)
    events = [(did, event(number, did[0], did[1], did[2], at_s=60 * did[3])) for number, did in enumerate(done)]
    ordered = sorted((one for _, one in events), key=lambda one: one["occurred_at"])
    result = await shop.run(event_records(ordered)) if ordered else BatchResult()
    shop.publish(of_topic(result.outputs, ITEMS_POPULARITY))
    return shop, result


@settings(max_examples=30)
@given(doings, st.integers(0, 60 * 24 * 40))
async def test_profiles_are_the_stages(done: list[Did], until: int) -> None:
    past = past_of(done)
    past.advance(at(until))
    shop, _ = await staged([did for did in done if did[3] < until] if until else [])
    theirs = {key.decode(): load_profile(data) for key, data in shop.state.items() if is_profile(key)}
    # With something to look forward to, everyone who is known by a liked or disliked item asks.
    last = [pair_of(1000 + n, (shopper, "purchase", "later", 60 * 24 * 41)) for n, shopper in enumerate("abcde")]
    asking = PastShop([*(pair_of(n, did) for n, did in enumerate(done) if did[3] < until), *last], RULES, exclude_seen=False)
    asking.advance(at(until))
    found = {one.shopper: one.request for one in asking.wanted(at(until), asking.end_ms, 100)}
    assert set(found) == {key for key, profile in theirs.items() if profile.items}
    for shopper, request in found.items():
        assert dict(zip(request.items, request.item_entries, strict=True)) == theirs[shopper].items
        bought = {item for item, time_ms in theirs[shopper].bought.items() if time_ms > at(until) - RULES.bought_cooldown_ms}
        gone = {item for item, entry in theirs[shopper].items.items() if entry.event_type == DISMISS}
        assert set(request.excluded) == bought | gone


@settings(max_examples=30)
@given(doings)
async def test_popularity_is_the_stages(done: list[Did]) -> None:
    past = past_of(done)
    past.advance(past.end_ms)
    shop, _ = await staged(done)
    rows, cell = shop.matrix, float(at(60 * 24 * 41))
    which = np.arange(len(rows.ids))
    cells = np.full(len(which), cell)
    ours, theirs = past.popularity().activity(rows, cells, which), shop.popularity.activity(rows, cells, which)
    for mine, stages in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, stages, rtol=1e-12)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.just("purchase"), st.sampled_from(ITEMS[:4]), st.integers(0, 9000)), max_size=60))
async def test_pairs_are_the_stages(done: list[Did]) -> None:
    past, moment = past_of(done), at(60 * 24 * 41)
    past.advance(past.end_ms)
    shop, _ = await staged(done)
    expected = TogetherTable(None, RULES.together.half_life_ms)
    for offset, item in enumerate(ITEMS):
        if (data := shop.state.get(state_key(item))) is not None:
            expected.put(0, item, *publishable(load_pairs(data), moment, RULES.together), as_of_ms=moment, source_offset=offset)
    expected.refresh()
    found = past.together(moment)
    for item in ITEMS:
        assert found.strengths(item) == pytest.approx(expected.strengths(item))


def test_pairs_of_enough_shoppers_are_there() -> None:
    done = [(shopper, "purchase", item, 5 * n) for n, shopper in enumerate("abcdefgh") for item in ITEMS[:2]]
    past = past_of(done)
    past.advance(past.end_ms)
    assert set(past.together(past.end_ms).strengths(ITEMS[0])) == {ITEMS[1]}


@given(doings, st.integers(1, 9), st.floats(0, 1), st.floats(0, 1))
def test_moments_ascend_within_the_time_of_what_was_done(done: list[Did], count: int, one: float, other: float) -> None:
    past = past_of(done)
    moments = past.moments(count, min(one, other), max(one, other))
    assert moments == sorted(set(moments))
    assert len(moments) <= count
    times = [at(did[3]) for did in done if REWARDS[did[1]] > 0]
    assert bool(moments) == bool(times)
    assert all(min(times) <= moment <= max(times) for moment in moments)
    assert past.end_ms == (max(at(did[3]) for did in done) + 1 if done else 0)


def next_visit(shopper: str, excluded: Sequence[str], done: Sequence[Did], from_minute: int, until_minute: int) -> dict[str, int]:
    """The first of her visits between the times in which she turned to anything that could have been recommended."""
    own = [did for did in done if f"k1.{did[0]}" == shopper and REWARDS[did[1]] > 0 and from_minute <= did[3] < until_minute]
    visits: list[list[Did]] = []
    for did in sorted(own, key=lambda did: did[3]):
        if not visits or did[3] > visits[-1][0][3] + VISIT_MS // 60_000:
            visits.append([])
        visits[-1].append(did)
    for visit in visits:
        items = {did[2] for did in visit} - set(excluded)
        if items:
            return {item: max(GRADES[did[1]] for did in visit if did[2] == item) for item in items}
    return {}


near = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(list(REWARDS)), st.sampled_from(ITEMS), st.integers(0, 300)), min_size=3, max_size=40
)


@settings(max_examples=200)
@given(near, st.integers(0, 300), st.integers(0, 300), st.booleans())
def test_wanted_is_the_next_visit_and_nothing_after_it(done: list[Did], first: int, second: int, exclude_seen: bool) -> None:
    from_minute, until_minute = min(first, second), max(first, second)
    past = past_of(done, exclude_seen=exclude_seen)
    past.advance(at(from_minute))
    for one in past.wanted(at(from_minute), at(until_minute), 10):
        assert one.grades == next_visit(one.shopper, one.request.excluded, done, from_minute, until_minute)
        assert one.grades and one.request.at_ms == at(from_minute)
        seen = {did[2] for did in done if f"k1.{did[0]}" == one.shopper and did[3] < from_minute}
        assert not (exclude_seen and seen & set(one.grades))


def test_a_visit_that_lasts_beyond_the_end_is_known_up_to_it() -> None:
    past = past_of([("a", "click", "i001", 0), ("a", "click", "i002", 20), ("a", "purchase", "i003", 40), ("a", "purchase", "i002", 41)])
    past.advance(at(10))
    assert [one.grades for one in past.wanted(at(10), at(40), 10)] == [{"i002": 1}]
    assert [one.grades for one in past.wanted(at(10), at(41), 10)] == [{"i002": 1, "i003": 3}]
    assert [one.grades for one in past.wanted(at(10), at(50), 10)] == [{"i002": 3, "i003": 3}]
    assert past.wanted(at(10), at(20), 10) == []


def test_a_visit_without_anything_new_is_passed_over() -> None:
    done = [("a", "purchase", "i001", 0), ("a", "click", "i001", 100), ("a", "cart", "i002", 300), ("a", "click", "i003", 400)]
    past = past_of(done)
    past.advance(at(50))
    assert [one.grades for one in past.wanted(at(50), at(1000), 10)] == [{"i002": 2}]


def test_at_most_so_many_shoppers_are_asked_for_evenly() -> None:
    shoppers = [f"s{n}" for n in range(30)]
    past = past_of([(s, "click", "i001", 0) for s in shoppers] + [(s, "click", "i002", 100) for s in shoppers])
    past.advance(at(50))
    names = [one.shopper for one in past.wanted(at(50), at(1000), 10)]
    assert len(set(names)) == 10
    assert len(past.wanted(at(50), at(1000), 100)) == 30
    places = [shoppers.index(name[3:]) for name in names]
    assert max(places) >= 25 and min(places) <= 3


def test_liked_items_count_once_with_their_largest_weight() -> None:
    day = 60 * 24
    done = [("a", "click", "i001", 0), ("a", "purchase", "i001", day), ("a", "view", "i001", 2 * day), ("b", "dismiss", "i001", day)]
    past = past_of([*done, ("b", "cart", "i002", 2 * day)])
    past.advance(past.end_ms)
    known = past.interactions(at(3 * day))
    weights = RULES.history_weights
    decayed = 2.0 ** (-2 * DAY_MS / RULES.half_life_ms), 2.0 ** (-DAY_MS / RULES.half_life_ms)
    found = {(int(s), known.names[i]): w for s, i, w in zip(known.shoppers, known.items, known.weights, strict=True)}
    assert found == pytest.approx({(0, "i001"): weights[4] * decayed[0], (1, "i002"): weights[3] * decayed[1]})
    assert known.people == 2


def test_nothing_happened() -> None:
    past = past_of([])
    past.advance(10**15)
    assert (past.moments(5, 0.1, 0.9), past.end_ms, past.wanted(0, 10**15, 5)) == ([], 0, [])
    assert len(past.interactions(0).items) == 0


def test_items_are_shared_by_shoppers_not_by_purchases() -> None:
    often = [("a", "purchase", ITEMS[0], minute) for minute in range(9)]
    past = past_of([*often, ("b", "click", ITEMS[0], 5), ("a", "purchase", ITEMS[1], 5), ("b", "dismiss", ITEMS[1], 6)])
    assert [past.shared_items(shoppers) for shoppers in (1, 2, 3)] == [2, 1, 0]
    assert past_of([]).shared_items(1) == 0
