"""A histogram of many values at once tells what the library's own tells of one after another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from streams.engine.bulk_histogram import BulkHistogram

BOUNDS = (0.005, 0.1, 1.0, 30.0)
VALUES = st.lists(st.one_of(st.sampled_from(BOUNDS), st.floats(-5, 100)), max_size=30)


def shown(registry: CollectorRegistry) -> list[str]:
    """The lines of /metrics, but for when a series began."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line and "_sum" not in line)


def total(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("h_sum", {"stage": "a"}) or 0.0


@given(st.lists(st.integers(0, 400_000), max_size=30))
def test_ages_are_told_as_values(ages_ms: list[int]) -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    BulkHistogram("h", "Text.", ["stage"], BOUNDS, one).observe_ages(("a",), [10**12 - age for age in ages_ms], 10**12)
    BulkHistogram("h", "Text.", ["stage"], BOUNDS, other).observe(("a",), [age / 1000 for age in ages_ms])
    assert shown(one) == shown(other)
    assert abs(total(one) - total(other)) < 1e-6


def test_a_time_ahead_of_now_has_no_age() -> None:
    registry = CollectorRegistry()
    BulkHistogram("h", "Text.", ["stage"], BOUNDS, registry).observe_ages(("a",), [2000], 1000)
    assert registry.get_sample_value("h_bucket", {"stage": "a", "le": "0.005"}) == 1 and total(registry) == 0


@given(st.lists(VALUES, max_size=4), st.floats(0, 50), st.integers(0, 5))
def test_it_tells_what_the_librarys_tells(batches: list[list[float]], same: float, times: int) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    bulk = BulkHistogram("h", "Text.", ["stage"], BOUNDS, ours)
    one_by_one = Histogram("h", "Text.", ["stage"], buckets=BOUNDS, registry=theirs)
    for values in batches:
        bulk.observe(("a",), values)
        for value in values:
            one_by_one.labels("a").observe(value)
    bulk.observe_same(("a",), same, times)
    for _ in range(times):
        one_by_one.labels("a").observe(same)
    assert shown(ours) == shown(theirs)
    assert abs(total(ours) - total(theirs)) < 1e-6
