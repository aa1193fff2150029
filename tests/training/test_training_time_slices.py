"""Pairs are split by time; the old slice is always the same and never trained on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.training.time_slices import OldSlice, cuts, split

times = st.lists(st.integers(0, 500), min_size=1, max_size=120)
shares = st.tuples(st.floats(0, 0.45), st.floats(0, 0.45))


@given(times, shares)
def test_every_pair_is_in_one_slice_and_time_divides_them(moments: list[int], parts: tuple[float, float]) -> None:
    at = np.array(moments, np.int64)
    where = cuts(at, validation=parts[0], test=parts[1])
    found = split(at, [f"u{n % 7}" for n in range(len(at))], where, OldSlice(0, 200, 0.5))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(at)))
    earlier = np.concatenate((found.train, found.old))
    for before, after in ((earlier, found.validation), (found.validation, found.test), (earlier, found.test)):
        if len(before) and len(after):
            assert at[before].max() < at[after].min()
    assert all((np.diff(at[part]) >= 0).all() for part in found)


@given(st.integers(20, 300), shares)
def test_shares_are_met_where_times_differ(count: int, parts: tuple[float, float]) -> None:
    at = np.arange(count, dtype=np.int64)[::-1].copy()
    found = split(at, ["u"] * count, cuts(at, validation=parts[0], test=parts[1]))
    assert len(found.test) == pytest.approx(parts[1] * count, abs=1.01)
    assert len(found.validation) == pytest.approx(parts[0] * count, abs=2.01)


def test_the_old_slice_does_not_move_as_pairs_come() -> None:
    old = OldSlice(100, 200, 0.3)
    people = [f"u{n}" for n in range(400)]
    first = np.arange(400, dtype=np.int64)
    grown = np.arange(2000, dtype=np.int64)
    before = split(first, people, cuts(first), old)
    after = split(grown, [f"u{n}" for n in range(2000)], cuts(grown), old)
    assert before.old.tolist() == after.old.tolist()
    assert 15 <= len(before.old) <= 45
    assert all(100 <= place < 200 for place in before.old)


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, -0.1)])
def test_shares_that_leave_nothing_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        cuts(np.arange(10, dtype=np.int64), validation=validation, test=test)


def test_nothing_to_split_and_unlike_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        cuts(np.zeros(0, np.int64))
    at = np.arange(10, dtype=np.int64)
    with pytest.raises(ValueError, match="zip"):
        split(at, ["u"], cuts(at))
