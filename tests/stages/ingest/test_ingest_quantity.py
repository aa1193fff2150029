"""Quantities: whole, above zero, capped by a rule that looks at the event alone."""

from __future__ import annotations

import csv
import gzip
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.stages.ingest.clean import DEFAULT_CAP, quantity


def test_absent_is_one() -> None:
    assert quantity(None) == (1, False)


@pytest.mark.parametrize(("value", "units"), [(1, 1), (2.0, 2), (7.0, 7), (1000, 1000)])
def test_units(value: float, units: int) -> None:
    assert quantity(value) == (units, False)


def test_outliers_are_capped() -> None:
    assert quantity(80_995.0) == (DEFAULT_CAP, True)
    assert quantity(13.0, 12) == (12, True)
    assert quantity(10**11, 12) == (12, True)


@pytest.mark.parametrize("value", [0, -0.0, -1, 0.25, 2.5, 1.0000001, 12.4, math.nan, math.inf, -math.inf, 1e12, 1e300])
def test_no_quantities(value: float) -> None:
    with pytest.raises(RecordError) as raised:
        quantity(value)
    assert raised.value.reason is Reason.BAD_QUANTITY


def test_returns_may_be_negative() -> None:
    assert quantity(-3, is_return=True) == quantity(3, is_return=True) == (3, False)
    assert quantity(-80_995, is_return=True) == (DEFAULT_CAP, True)
    for value in (0, math.nan, -math.inf):
        with pytest.raises(RecordError):
            quantity(value, is_return=True)


@given(st.floats(min_value=0, max_value=1e11, exclude_min=True) | st.integers(1, 10**11), st.integers(1, 10_000))
def test_whole_numbers_between_one_and_the_cap_and_nothing_else(value: float, cap: int) -> None:
    if value != math.floor(value):
        with pytest.raises(RecordError, match="fraction"):
            quantity(value, cap)
        return
    units, capped = quantity(value, cap)
    assert units == min(value, cap)
    assert capped == (value > cap)


@pytest.mark.slow
def test_the_default_cap_is_the_robust_fit_of_the_retail_year(retail: Path) -> None:
    """exp(median + 5 · 1.4826 · MAD) of the logarithms, rounded to hundreds."""
    with gzip.open(retail / "events.csv.gz", "rt", encoding="utf-8") as file:
        logs = [math.log(float(row["qty"])) for row in csv.DictReader(file) if row["event_type"] == "purchase"]
    median = statistics.median(logs)
    deviation = statistics.median(abs(value - median) for value in logs)
    assert round(math.exp(median + 5 * 1.4826 * deviation), -2) == DEFAULT_CAP
