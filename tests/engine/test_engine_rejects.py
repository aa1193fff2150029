"""The bound on rejects: judged over a whole window, whatever the batches' sizes."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import rejects as module
from streams.engine.rejects import RejectGuard
from streams.errors import TooManyRejects


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_the_message_says_all_that_is_needed() -> None:
    guard = RejectGuard(0.5, 100)
    guard.observe(20, 50, {"bad_time": 15, "bad_price": 5})
    with pytest.raises(TooManyRejects) as raised:
        guard.observe(50, 50, {"unknown_schema": 40, "bad_time": 4, "missing_item": 3, "bad_item": 3})
    message = str(raised.value)
    assert "70 of the last 100 records were refused (unknown_schema 40, bad_time 19, bad_price 5)" in message
    assert "share of 0.5 over at least 100 records" in message
    assert "VEILSTREAM_REJECT_SHARE_MAX" in message


def test_without_reasons() -> None:
    with pytest.raises(TooManyRejects, match="10 of the last 10 records were refused, more"):
        RejectGuard(0.5, 10).observe(10, 10)


def test_few_records_are_not_judged() -> None:
    guard = RejectGuard(0.1, 100)
    guard.observe(99, 99)


def test_exactly_the_share_passes() -> None:
    RejectGuard(0.5, 10).observe(5, 10)
    with pytest.raises(TooManyRejects):
        RejectGuard(0.5, 10).observe(6, 11)


def test_the_past_is_forgotten() -> None:
    guard = RejectGuard(0.5, 10)
    guard.observe(5, 10)
    for _ in range(10):
        guard.observe(0, 1)
    guard.observe(1, 1)
    for _ in range(4):
        guard.observe(1, 1)
    with pytest.raises(TooManyRejects):
        guard.observe(1, 1)


def test_empty_batches_change_nothing() -> None:
    guard = RejectGuard(0.5, 10)
    for _ in range(1000):
        guard.observe(0, 0)
    guard.observe(5, 10)


@given(st.lists(st.integers(0, 8).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))), max_size=40))
def test_it_raises_where_a_plain_count_does(batches: list[tuple[int, int]]) -> None:
    guard = RejectGuard(0.4, 12)
    for index, (rejected, total) in enumerate(batches):
        seen = batches[: index + 1]
        while seen and sum(size for _, size in seen[1:]) >= 12:
            seen = seen[1:]
        bad, size = sum(r for r, _ in seen), sum(t for _, t in seen)
        if size >= 12 and bad > 0.4 * size:
            with pytest.raises(TooManyRejects):
                guard.observe(rejected, total)
            return
        guard.observe(rejected, total)
