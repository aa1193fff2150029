"""The compiled loops beside the same in plain numpy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.kernels import pair_sums
from streams.ranking.learned.features import FEATURES
from streams.ranking.learned.model import NODES, PATTERNS

ROWS = 8


class Case(NamedTuple):
    begins: Any
    numbers: Any
    weights: Any
    starts: Any
    others: Any
    strengths: Any
    rows_of: Any

    @property
    def users(self) -> int:
        return len(self.begins) - 1

    def part(self, place: int) -> Any:
        """What one element of a history adds to every row."""
        found = np.zeros(ROWS)
        number = self.numbers[place]
        if 0 <= number < len(self.starts) - 1:
            for at in range(self.starts[number], self.starts[number + 1]):
                row = self.rows_of[self.others[at]]
                if row >= 0:
                    found[row] += self.weights[place] * self.strengths[at]
        return found

    def whole(self) -> Any:
        """[users, rows]."""
        own = [range(self.begins[user], self.begins[user + 1]) for user in range(self.users)]
        return np.array([sum((self.part(place) for place in places), np.zeros(ROWS)) for places in own])


def begins_of(counts: list[int]) -> Any:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


# Quarters: all sums are exact in any order, and many of them are equal.
quarters = st.integers(-4, 8).map(lambda n: n / 4)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    items = draw(st.integers(1, 6))
    starts = begins_of(draw(st.lists(st.integers(0, 5), min_size=items, max_size=items)))
    edges = int(starts[-1])
    begins = begins_of(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    places = int(begins[-1])

    def ints(least: int, most: int, count: int) -> Any:
        return np.array(draw(st.lists(st.integers(least, most), min_size=count, max_size=count)), np.int64)

    return Case(
        begins,
        # Also items that the table does not know, and ones that it got to know after its neighbours were made.
        ints(-1, items, places),
        np.array(draw(st.lists(quarters, min_size=places, max_size=places)), np.float64),
        starts,
        ints(0, items - 1, edges),
        np.array(draw(st.lists(quarters | st.just(1.0), min_size=edges, max_size=edges)), np.float32),
        ints(-1, ROWS - 1, items),
    )


@st.composite
def with_pairs(draw: st.DrawFn) -> tuple[Case, Any, Any]:
    case = draw(cases())
    rows = draw(st.lists(st.lists(st.integers(0, ROWS - 1), max_size=5), min_size=case.users, max_size=case.users))
    return case, begins_of([len(own) for own in rows]), np.array([row for own in rows for row in own], np.int64)


def gathered(case: Case) -> tuple[Any, Any, Any]:
    room = 30 * case.users + 1
    begins, rows, sums, total = np.full(case.users + 1, -9), np.full(room, -9), np.full(room, np.nan), np.zeros(ROWS)
    pair_sums.gathered(*case, total, begins, rows, sums)
    assert not total.any(), "left empty for the next batch"
    own = [rows[first:end].tolist() for first, end in pairwise(begins)]
    assert all(len(some) == len(set(some)) for some in own)
    return begins, rows, sums


@settings(max_examples=150)
@given(with_pairs())
@pytest.mark.slow
def test_sums_are_those_of_the_whole_history(drawn: tuple[Case, Any, Any]) -> None:
    case, begins, rows = drawn
    total, found = np.zeros(ROWS), np.full(len(rows), 7, np.float32)
    pair_sums.at(*gathered(case), total, begins, rows, found)
    owners = np.repeat(np.arange(case.users), np.diff(begins))
    np.testing.assert_array_equal(found, case.whole()[owners, rows])
    assert not total.any(), "left empty for the next batch"


@settings(max_examples=150)
@given(with_pairs())
@pytest.mark.slow
def test_parts_say_which_item_of_the_history_adds_what(drawn: tuple[Case, Any, Any]) -> None:
    case, begins, rows = drawn
    owners = np.repeat(np.arange(case.users), np.diff(begins))
    found = np.full((len(rows), 4), 0.5)
    pair_sums.parts(*case, owners, rows, found)
    for pair, (user, row) in enumerate(zip(owners, rows, strict=True)):
        expected = [0.5 + case.part(place)[row] for place in range(case.begins[user], case.begins[user + 1])]
        assert found[pair].tolist() == expected + [0.5] * (4 - len(expected))


@settings(max_examples=300)
@given(with_pairs(), st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), st.integers(1, 4))
@pytest.mark.slow
def test_the_strongest_are_the_largest_sums_and_those_equal_to_the_last(
    drawn: tuple[Case, Any, Any], is_open: list[bool], most: int
) -> None:
    case, shut_begins, shut_rows = drawn
    counts, out = np.zeros(case.users, np.int64), np.full(case.users * 2 * most, -9, np.int64)
    pair_sums.strongest(*gathered(case), np.array(is_open), shut_begins, shut_rows, most, counts, out)
    ends = np.cumsum(counts)
    for user, sums in enumerate(case.whole()):
        shut = set(shut_rows[shut_begins[user] : shut_begins[user + 1]].tolist())
        ordered = sorted(((sums[row], row) for row in range(ROWS) if sums[row] > 0 and is_open[row] and row not in shut), reverse=True)
        least = ordered[:most][-1][0] if ordered else 0.0
        kept = {row for value, row in ordered if value >= least}
        if len(kept) > 2 * most:
            kept = {row for value, row in ordered if value > least}
        found = out[ends[user] - counts[user] : ends[user]].tolist()
        assert len(found) == len(set(found))
        assert set(found) == kept


def test_a_crowd_of_equals_leaves_other_shoppers_their_room() -> None:
    # The first shopper's history reaches eight rows alike, the second's reaches one.
    sums = np.array([0, 8, 9]), np.array([*range(8), 0]), np.ones(9)
    counts, out = np.zeros(2, np.int64), np.zeros(4, np.int64)
    nobody = np.zeros(3, np.int64), np.zeros(0, np.int64)
    pair_sums.strongest(*sums, np.ones(8, np.bool_), *nobody, 1, counts, out)
    assert counts.tolist() == [0, 1], "none of too many equals"
    assert out[0] == 0


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(1, 40), st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_dots_are_products_and_depend_on_the_pair_alone(seed: int, dimension: int, counts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    users, vectors = (rng.standard_normal((count, dimension)).astype(np.float32) for count in (len(counts), 9))
    begins, rows = begins_of(counts), rng.integers(0, 9, sum(counts))
    found = np.zeros(len(rows), np.float32)
    pair_sums.dots(users, vectors, begins, rows, found)
    owners = np.repeat(np.arange(len(counts)), counts)
    expected = (users[owners].astype(np.float64) * vectors[rows]).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for place, (user, row) in enumerate(zip(owners, rows, strict=True)):
        alone = np.zeros(1, np.float32)
        pair_sums.dots(users[user : user + 1].copy(), vectors[row : row + 1].copy(), np.array([0, 1]), np.array([0]), alone)
        assert alone.tobytes() == found[place : place + 1].tobytes()


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(0, 5), st.integers(0, 6))
def test_a_forest_adds_up_the_values_of_the_patterns(seed: int, trees: int, pairs: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (pairs, len(FEATURES)), np.uint8)
    features, thresholds = rng.integers(0, len(FEATURES), (trees, NODES), np.uint8), rng.integers(0, 256, (trees, NODES), np.uint8)
    values = rng.standard_normal((trees, PATTERNS)).astype(np.float32)
    patterns, out = np.zeros((pairs, trees), np.int64), np.full(pairs, 2.0)
    pair_sums.forest(levels, features, thresholds, values, patterns, out)
    expected = (levels[:, features] > thresholds) @ (1 << np.arange(NODES))
    np.testing.assert_array_equal(patterns, expected)
    np.testing.assert_allclose(out, 2.0 + values[np.arange(trees), expected].astype(np.float64).sum(axis=1), atol=1e-12)
