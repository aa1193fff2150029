"""What is bought together: counting beside a slow and independent reckoning, the table, and what it adds to a score."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.ranking.embedding import Embedding
from streams.ranking.ranking import rank
from streams.ranking.request import Entry, Request
from streams.ranking.rules import PURCHASE
from streams.ranking.together import ItemPairs, TogetherRules, count_purchase, is_due, publishable
from streams.ranking.together_table import SHRINK, TogetherTable, dense, total_at
from streams.topics import ITEMS_TOGETHER
from tests.support.profile_harness import CODECS, START_MS, TITLES, ProfileHarness
from tests.support.rules import profile_rules

DAY_MS = 86_400_000
RULES = TogetherRules(half_life_ms=60.0 * DAY_MS, shoppers=2)
ITEMS = sorted(TITLES)
CODEC = CODECS.for_topic(ITEMS_TOGETHER)


def table(pairs: dict[str, dict[str, float]], totals: float = 20.0, partition: int = 0, **options: int) -> TogetherTable:
    found = TogetherTable(CODEC, RULES.half_life_ms, **options)
    found.apply([record(item, others, totals, partition) for item, others in pairs.items()])
    found.refresh()
    return found


def record(item: str, others: dict[str, float], total: float = 20.0, partition: int = 0, offset: int = 1, as_of: int = 0) -> MemoryRecord:
    value = {
        "item_id": item,
        "total": total,
        "others": list(others),
        "counts": list(others.values()),
        "as_of": as_of,
        "source_offset": offset,
    }
    return MemoryRecord(ITEMS_TOGETHER, partition, offset, as_of, item.encode(), CODEC.encode(value))


purchases = st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcde"), st.integers(0, 400)), max_size=60)


@given(purchases)
@settings(max_examples=200, deadline=None)
def test_counts_are_those_of_the_definition(events: list[tuple[str, str, int]]) -> None:
    events.sort(key=lambda event: event[2])
    counted: dict[str, ItemPairs] = {}
    bought: dict[str, dict[str, int]] = {}
    expected: dict[tuple[str, str], list[tuple[float, int, bool]]] = {}
    for user, item, day in events:
        own = bought.setdefault(user, {})
        before = own.pop(item, None)
        fresh = before is None or day * DAY_MS - before > RULES.half_life_ms
        for other, at in own.items():
            if fresh:
                age = day - at // DAY_MS
                weight = 1.0 if age == 0 else 0.3 * 2.0 ** (-age / 30)
                expected.setdefault((item, other), []).append((weight, day, before is None))
        own[item] = day * DAY_MS
        assert count_purchase(counted.setdefault(item, ItemPairs(partners={})), item, own, before, day * DAY_MS, RULES) == fresh
    for item, pairs in counted.items():
        _, counts = publishable(pairs, 400 * DAY_MS, RULES)
        wanted = {
            other: sum(w * 2.0 ** ((day - 400) / 60) for w, day, _ in found)
            for (i, other), found in expected.items()
            if i == item and sum(is_first for _, _, is_first in found) >= 2  # one shopper who comes again is one
        }
        assert counts == pytest.approx(wanted)
        assert all(a >= b for a, b in pairwise(counts.values()))


def test_a_pair_of_one_shopper_is_never_published() -> None:
    pairs = ItemPairs(partners={})
    for day in range(0, 600, 100):
        count_purchase(pairs, "b", {"a": day * DAY_MS}, None, day * DAY_MS, RULES)
        assert ("a" in publishable(pairs, day * DAY_MS, RULES)[1]) == (day > 0)


def test_one_shopper_counts_once_within_a_half_life() -> None:
    pairs = ItemPairs(partners={})
    assert count_purchase(pairs, "b", {"a": 0}, None, DAY_MS, RULES)
    for day in range(2, 60):
        assert not count_purchase(pairs, "b", {"a": 0}, (day - 1) * DAY_MS, day * DAY_MS, RULES)
    assert (pairs.counted, pairs.partners["a"][1]) == (1, 1)


def test_who_buys_everything_and_what_is_bought_with_everything_stay_bounded() -> None:
    pairs, bought = ItemPairs(partners={}), {f"i{n}": n for n in range(5000)}
    count_purchase(pairs, "b", bought, None, 5000, RULES)
    assert len(pairs.partners) == RULES.recent
    for shopper in range(3000):
        count_purchase(pairs, "b", {f"other {shopper}": 0, "always": 0}, None, 1000, RULES)
    assert len(pairs.partners) <= 2 * RULES.partners
    assert "always" in publishable(pairs, 1000, RULES)[1]


def test_counts_of_many_years_stay_finite() -> None:
    pairs = ItemPairs(partners={})
    for year in range(60):
        count_purchase(pairs, "b", {"a": 365 * year * DAY_MS}, None, 365 * year * DAY_MS, RULES)
    total, counts = publishable(pairs, 365 * 59 * DAY_MS, RULES)
    assert total == pytest.approx(1 / (1 - 2 ** (-365 / 60)), rel=1e-6)
    assert counts["a"] == pytest.approx(total)


def test_pairs_are_published_from_enough_shoppers_on_and_then_by_their_growth() -> None:
    pairs, published = ItemPairs(partners={}), []
    for number in range(200):
        count_purchase(pairs, "b", {"a": 0}, None, 1000, RULES)
        if is_due(pairs, RULES):
            pairs.published = pairs.counted
            published.append(number + 1)
    assert published[:6] == [2, 3, 4, 5, 7, 9]
    assert 15 < len(published) < 25


def test_partitions_add_up_and_both_directions_count() -> None:
    found = TogetherTable(CODEC, RULES.half_life_ms)
    found.apply([record("b", {"a": 4.0}, 10.0, 0), record("b", {"a": 2.0}, 5.0, 1), record("a", {"b": 3.0}, 7.0, 0)])
    found.refresh()
    strength = 9.0 / sqrt((15 + SHRINK) * (7 + SHRINK))
    assert found.strengths("a") == pytest.approx({"b": strength})
    assert found.strengths("b") == pytest.approx({"a": strength})
    assert found.strengths("unknown") == {}


def test_older_counts_are_decayed_to_the_newest_time() -> None:
    found = TogetherTable(CODEC, RULES.half_life_ms)
    found.apply([record("b", {"a": 4.0}, 8.0), record("d", {"c": 4.0}, 8.0, as_of=round(RULES.half_life_ms))])
    found.refresh()
    assert found.strengths("a")["b"] == pytest.approx(2 / sqrt(SHRINK * (4 + SHRINK)))
    assert found.strengths("c")["d"] == pytest.approx(4 / sqrt(SHRINK * (8 + SHRINK)))


def test_reading_again_or_older_changes_nothing() -> None:
    found = table({"b": {"a": 4.0}})
    found.apply([record("b", {"a": 4.0}), record("b", {"x": 9.0}, offset=0)])
    found.refresh()
    assert list(found.strengths("b")) == ["a"]
    found.apply([record("b", {"c": 1.0}, offset=2)])
    found.refresh()
    assert list(found.strengths("b")) == ["c"]


def test_an_item_keeps_its_strongest_neighbours() -> None:
    found = table({"b": {f"i{n}": float(n + 1) for n in range(200)}})
    assert list(found.strengths("b")) == [f"i{n}" for n in range(199, 135, -1)]


@pytest.mark.parametrize(
    "change", [{"counts": [1.0]}, {"counts": [1.0, float("nan")]}, {"counts": [-1.0, 1.0]}, {"total": float("inf")}], ids=str
)
def test_bad_records_are_counted_and_change_nothing(change: dict[str, object]) -> None:
    found = table({"b": {"a": 4.0}})
    value = {"item_id": "b", "total": 1.0, "others": ["x", "y"], "counts": [1.0, 1.0], "as_of": 5, "source_offset": 9} | change
    found.apply([MemoryRecord(ITEMS_TOGETHER, 0, 9, 0, b"b", CODEC.encode(value)), MemoryRecord(ITEMS_TOGETHER, 0, 10, 0, b"b", b"no")])
    found.refresh()
    assert found.bad_records == 2
    assert list(found.strengths("b")) == ["a"]


def test_a_large_table_is_made_on_a_thread() -> None:
    found = table({"b": {"a": 4.0}}, at_once=0)
    assert found.strengths("b") == {}
    assert found._building is not None
    found._building.result(timeout=30)
    assert found.strengths("b") == {}, "not before a batch begins"
    found.refresh()
    assert list(found.strengths("b")) == ["a"]


def embedding(harness: ProfileHarness, history: dict[str, float]) -> Embedding:
    rows = np.array([harness.matrix.rows[item] for item in history], np.intp)
    return Embedding(
        np.zeros(3, np.float32), np.array(list(history.values()), np.float32), list(history), rows, [], [PURCHASE] * len(history)
    )


def test_what_is_added_follows_the_history() -> None:
    harness, (a, b, c) = ProfileHarness(), ITEMS[:3]
    found = table({b: {a: 4.0}, c: {a: 2.0}})
    strong, weak = found.strengths(a).values()
    added = dense(found.of(embedding(harness, {a: 1.0, ITEMS[9]: 3.0}), harness.matrix), 2.0, len(harness.matrix.ids))
    assert added[harness.matrix.rows[b]] == pytest.approx(2.0 * strong / 4, rel=1e-6)
    assert added[harness.matrix.rows[c]] == pytest.approx(2.0 * weak / 4, rel=1e-6)
    assert np.count_nonzero(added) == 2
    assert not len(found.of(embedding(harness, {a: -1.0}), harness.matrix).rows), "what was disliked says nothing"
    assert not len(found.of(embedding(harness, {}), harness.matrix).rows)


def test_the_sum_by_pairs_is_the_dense_one() -> None:
    harness = ProfileHarness()
    found = table({item: {other: 3.0 + n for n, other in enumerate(ITEMS[:20])} for item in ITEMS[20:30]})
    parts = [found.of(embedding(harness, {item: 1.0 for item in ITEMS[n : n + 9]}), harness.matrix) for n in (0, 15, 50)]
    users, rows = np.repeat(np.arange(3), 60), np.tile(np.arange(60), 3)
    whole = np.concatenate([dense(part, 0.7, 60) for part in parts])
    assert (total_at(parts, users, rows, 0.7) == whole).all()


@pytest.mark.parametrize("weight", [0.0, 0.4, 3.0])
def test_shares_add_up_and_name_what_it_was_bought_with(weight: float) -> None:
    harness = ProfileHarness()
    rules = profile_rules(threshold=-9.0, top_k=10, reasons_max=99, together_weight=weight)
    found = table({item: {other: 5.0 for other in ITEMS[:6]} for item in ITEMS[30:36]})
    requests = [Request(ITEMS[n : n + 4], [Entry(1.0, START_MS, PURCHASE)] * 4, [], None, [ITEMS[n]], START_MS) for n in (0, 2, 40)]
    together = rank(requests, harness.matrix, harness.popularity, {}, rules, found)
    alone = [rank([request], harness.matrix, harness.popularity, {}, rules, found)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert one.items == other.items
        assert (one.scores == other.scores).all()
        assert one.shares.sum(axis=1) == pytest.approx(one.scores.sum(axis=1), abs=1e-6)
    named = {source.item_id for source in together[0].sources if source.kind == "together"}
    assert named == (set(ITEMS[:4]) if weight else set())
    if weight == 3.0:
        assert set(together[0].items[:6]) == set(ITEMS[30:36])
        assert [s.kind for s in together[2].sources if s.kind == "together"] == []


def test_neighbours_do_not_depend_on_the_order_of_reading() -> None:
    """More of them are equal than an item keeps: which are kept goes by id."""
    others = [f"x{number:03d}" for number in range(100)]
    parts = [[record("a", dict.fromkeys(others[start::2], 3.0), partition=start)] for start in range(2)]
    found = []
    for order in (parts, parts[::-1]):
        one = TogetherTable(CODEC, RULES.half_life_ms)
        for records in order:
            one.apply(records)
        one.refresh()
        found.append(one.strengths("a"))
    assert found[0] == found[1]
    assert list(found[0]) == others[: len(found[0])]
    assert len(found[0]) < len(others)


def test_it_tells_up_to_where_the_records_of_its_neighbours_were_read() -> None:
    for at_once in (0, 1000):
        one = TogetherTable(CODEC, RULES.half_life_ms, at_once=at_once)
        one.apply([record("a", {"b": 2.0}, partition=1, offset=4)])
        one.refresh()
        one.apply([record("c", {"d": 2.0}, partition=0, offset=7)])
        while not one.strengths("a"):
            one.refresh()
        assert one.neighbours_of == [0, 5]
        assert one.read.following == [8, 5]
