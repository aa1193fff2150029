"""The shapes that an accelerator meets: few, within the budget, and all rows in them once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.engines.buckets import Buckets, TokenBudget

LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=200).map(lambda some: np.array(sorted(some, reverse=True)))


@given(lengths=LENGTHS, budget=st.integers(8, 4096))
def test_every_row_is_in_one_batch_that_holds_it(lengths: np.ndarray, budget: int) -> None:
    batches = list(Buckets(256).batches(lengths, budget))
    assert [batch.start for batch in batches] == [0, *(batch.stop for batch in batches[:-1])]
    assert batches[-1].stop == len(lengths)
    for batch in batches:
        assert batch.stop - batch.start <= batch.shape.rows
        assert lengths[batch.start] <= batch.shape.width
        assert batch.shape.positions <= budget or batch.shape.rows == 1


@given(lengths=LENGTHS)
def test_the_padding_has_a_bound(lengths: np.ndarray) -> None:
    positions = sum(batch.shape.positions for batch in Buckets(256).batches(lengths, 2048))
    assert positions <= 4 * np.maximum(lengths, 8).sum() + 512 * 6


@given(some=st.lists(LENGTHS, min_size=1, max_size=30))
def test_there_are_few_shapes(some: list[np.ndarray]) -> None:
    buckets = Buckets(256)
    assert len({batch.shape for lengths in some for batch in buckets.batches(lengths, 2048)}) <= 36


def test_widths() -> None:
    buckets = Buckets(300)
    assert [buckets.width(tokens) for tokens in (1, 8, 9, 17, 33, 256, 257, 300)] == [8, 8, 16, 24, 48, 256, 300, 300]
    with pytest.raises(IndexError):
        buckets.width(301)


def test_the_budget_is_halved_once_for_all_who_failed_under_it() -> None:
    budget = TokenBudget(1024, least=300)
    assert budget.halve(1000)
    assert budget.tokens == 500
    assert budget.halve(1000), "another lane's failure under the old budget"
    assert budget.tokens == 500
    assert budget.halve(500)
    assert budget.tokens == 300
    assert not budget.halve(300)
