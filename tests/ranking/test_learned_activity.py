"""What the popularity table counts of items besides the count that is a setting's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ranking.popularity import DAY_MS, DecayedCount
from streams.ranking.popularity_table import Activity, PopularityTable
from tests.support.learned_shop import ITEMS, shop
from tests.support.profile_harness import START_MS

ROWS = np.arange(4)
Put = tuple[int, int, int, float]
"""Partition, item, days after the start, amount."""
puts = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 900), st.floats(0, 9)), max_size=12)


def put(table: PopularityTable, number: int, one: Put) -> None:
    partition, item, days, amount = one
    time_ms = START_MS + days * DAY_MS
    first, bought = (time_ms, -1) if number % 2 else (-1, time_ms)
    table.put(partition, ITEMS[item], DecayedCount(amount, time_ms, number, (amount / 2, amount * 2, amount * 3), first, bought, number))


def read(table: PopularityTable, days: int) -> Activity:
    return table.activity(shop().matrix, np.full(4, START_MS + days * float(DAY_MS)), ROWS)


@given(puts, st.integers(900, 1000))
def test_a_table_that_is_read_in_between_counts_the_same(done: list[Put], days: int) -> None:
    watched, fresh = PopularityTable(None, 5.0 * DAY_MS), PopularityTable(None, 5.0 * DAY_MS)
    for number, one in enumerate(done):
        put(watched, number, one)
        read(watched, days)
        put(fresh, number, one)
    for ours, theirs in zip(read(watched, days), read(fresh, days), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    last = {(partition, item): (number, time, amount) for number, (partition, item, time, amount) in enumerate(done)}
    for row in ROWS.tolist():
        own = [one for (_, item), one in last.items() if item == row]
        halves = np.array([2.0, 5.0, 15.0, 60.0])
        expected = sum((amount * np.array([0.5, 1, 2, 3]) * 2.0 ** (-(days - time) / halves) for _, time, amount in own), np.zeros(4))
        found = read(watched, days)
        assert found.counts[row].tolist() == pytest.approx(expected.tolist(), rel=1e-9)
        assert found.buyers[row] == sum(number for number, _, _ in own)
        firsts, boughts = ([START_MS + time * DAY_MS for number, time, _ in own if number % 2 == odd] for odd in (1, 0))
        assert [found.first_ms[row]] == ([min(firsts)] if firsts else [pytest.approx(np.nan, nan_ok=True)])
        assert [found.bought_ms[row]] == ([max(boughts)] if boughts else [pytest.approx(np.nan, nan_ok=True)])


def test_each_row_is_counted_at_its_own_moment() -> None:
    table = PopularityTable(None, 5.0 * DAY_MS)
    put(table, 1, (0, 2, 0, 8.0))
    found = table.activity(shop().matrix, START_MS + np.array([0.0, 5.0, 10.0]) * DAY_MS, np.array([2, 2, 2]))
    assert found.counts[:, 1].tolist() == [8.0, 4.0, 2.0]
    assert found.counts[:, 3].tolist() == pytest.approx([24.0, 24 * 2 ** (-5 / 60), 24 * 2 ** (-10 / 60)])
