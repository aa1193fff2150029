"""What a partition has seen is counted by model and time, in bounded space; windows say how it was and how it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from streams.serde.records import TrainingTally
from streams.stages.learning.tally import (
    BUCKETS_KEPT,
    SCORE_BINS,
    add_feedback,
    add_recommendations,
    empty_tally,
    newest_ms,
    position,
    windows,
)

HOUR_MS = 3_600_000
BUCKET_MS, WINDOW_MS = 6 * HOUR_MS, 24 * HOUR_MS


def feedback(outcome: str, at_ms: int, version: str = "m") -> Any:
    return {"model_version": version, "outcome": outcome, "created_at": at_ms}


def listed(scores: list[float], at_ms: int, version: str = "m") -> Any:
    return {"model_version": version, "created_at": at_ms, "items": [{"score": score} for score in scores]}


def counted(**hours: tuple[int, int]) -> TrainingTally:
    """Items and ignored ones by hour, ``h6=(100, 40)``."""
    tally = empty_tally(0)
    for hour, (items, ignored) in hours.items():
        at_ms = int(hour[1:]) * HOUR_MS
        add_feedback(tally, [feedback("ignored", at_ms)] * ignored + [feedback("click", at_ms)] * (items - ignored), BUCKET_MS)
    return tally


outcomes = st.lists(
    st.tuples(st.sampled_from(["click", "purchase", "dismiss", "shown", "ignored"]), st.integers(0, 60), st.sampled_from("mn")), max_size=60
)


@given(outcomes, st.integers(0, 60))
def test_counts_do_not_depend_on_how_the_records_came(records: list[tuple[str, int, str]], cut: int) -> None:
    values = [feedback(outcome, hour * HOUR_MS, version) for outcome, hour, version in records]
    once, twice = empty_tally(3), empty_tally(3)
    add_feedback(once, values, BUCKET_MS)
    add_feedback(twice, values[cut:], BUCKET_MS)
    add_feedback(twice, values[:cut], BUCKET_MS)
    assert once == twice
    assert sum(bucket["items"] for bucket in once["buckets"]) == len(values)
    assert sum(bucket["ignored"] for bucket in once["buckets"]) == sum(outcome in ("shown", "ignored") for outcome, _, _ in records)


@given(st.lists(st.floats(-10, 10), max_size=50))
def test_every_score_is_counted(scores: list[float]) -> None:
    tally = empty_tally(0)
    add_recommendations(tally, [listed(scores, 0)], BUCKET_MS)
    (bucket,) = tally["buckets"]
    assert len(bucket["scores"]) == SCORE_BINS
    assert sum(bucket["scores"]) == len(scores)


def test_the_oldest_buckets_go() -> None:
    tally = empty_tally(0)
    add_feedback(tally, [feedback("click", number * BUCKET_MS) for number in range(3 * BUCKETS_KEPT)], BUCKET_MS)
    assert [bucket["start"] // BUCKET_MS for bucket in tally["buckets"]] == list(range(2 * BUCKETS_KEPT, 3 * BUCKETS_KEPT))
    assert newest_ms([tally, empty_tally(1)]) == (3 * BUCKETS_KEPT - 1) * BUCKET_MS
    assert newest_ms([]) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3 * BUCKETS_KEPT), st.sampled_from("mn")), max_size=200), st.lists(st.integers(0, 200), max_size=5)
)
def test_what_goes_does_not_depend_on_where_a_batch_begins(records: list[tuple[int, str]], cuts: list[int]) -> None:
    values = [listed([0.5], number * BUCKET_MS, version) for number, version in records]
    whole, parts = empty_tally(0), empty_tally(0)
    add_recommendations(whole, values, BUCKET_MS)
    bounds = [0, *sorted(cuts), len(values)]
    for begin, end in pairwise(bounds):
        add_recommendations(parts, values[begin:end], BUCKET_MS)
    assert whole == parts
    assert len(whole["buckets"]) <= BUCKETS_KEPT


def test_the_later_tally_has_more_behind_it() -> None:
    assert position(empty_tally(0)) == 0
    assert position(cast(TrainingTally, {**empty_tally(0), "feedback_offset": 7})) == 8


def test_windows_are_the_first_and_the_newest_of_the_model_that_serves() -> None:
    tally = counted(h0=(100, 10), h18=(100, 10), h24=(50, 50), h100=(100, 60), h118=(100, 60))
    add_feedback(tally, [feedback("ignored", 118 * HOUR_MS, "canary")] * 20, BUCKET_MS)
    seen = windows([tally, empty_tally(1)], 0, WINDOW_MS, BUCKET_MS)
    assert (seen.reference_shown.items, seen.reference_shown.ignored) == (200, 20)
    assert (seen.recent_shown.items, seen.recent_shown.ignored) == (200, 120)
    later = windows([tally], 24 * HOUR_MS, WINDOW_MS, BUCKET_MS)
    assert (later.reference_shown.items, later.reference_shown.ignored) == (50, 50)


def test_windows_do_not_overlap_and_may_be_empty() -> None:
    assert windows([], 0, WINDOW_MS, BUCKET_MS).reference_shown.items == 0
    young = windows([counted(h0=(100, 10), h6=(100, 90))], 0, WINDOW_MS, BUCKET_MS)
    assert (young.reference_shown.items, young.recent_shown.items) == (200, 0)
    assert windows([counted(h0=(100, 10))], 48 * HOUR_MS, WINDOW_MS, BUCKET_MS).reference_shown.items == 0
