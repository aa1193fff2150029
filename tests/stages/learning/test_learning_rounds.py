"""Rounds as the control topic tells them: what was asked for last, what is open, whatever comes twice or late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.stages.learning.rounds import KEPT, next_request_id
from streams.topics import TRAINING_CONTROL
from tests.support.learning_harness import CODECS, HOUR_MS, START_MS, control_record, heard

CODEC = CODECS.for_topic(TRAINING_CONTROL)
STALE_MS = 48 * HOUR_MS
DAY_MS = 24 * HOUR_MS


steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["requested", "started", "finished", "failed"]), st.integers(0, 100)), max_size=20
)


@given(steps, st.data())
def test_telling_a_prefix_again_changes_nothing(steps: list[tuple[str, str, int]], data: st.DataObject) -> None:
    records = [control_record(identity, state, START_MS + hours * HOUR_MS) for identity, state, hours in steps]
    again = data.draw(st.integers(0, len(records)))
    once, twice = heard(*records), heard(*records, *records[:again])
    now_ms = START_MS + 50 * HOUR_MS
    assert once.latest == twice.latest
    assert once.is_open(now_ms, STALE_MS) == twice.is_open(now_ms, STALE_MS)
    assert all((identity in once) == (identity in twice) for identity in "abc")
    ended = {identity for identity, state, _ in steps if state in ("finished", "failed")}
    if once.is_open(now_ms, STALE_MS):
        assert {identity for identity, _, _ in steps} - ended
    if once.latest is not None:
        assert once.latest.request_id == list(dict.fromkeys(identity for identity, _, _ in steps))[-1]


@pytest.mark.parametrize(
    ("records", "days", "is_open"),
    [
        ([], 0, False),
        ([control_record("a", "requested")], 29, True),
        ([control_record("a", "requested")], 30, False),
        ([control_record("a", "requested"), control_record("a", "started")], 1, True),
        ([control_record("a", "requested"), control_record("a", "started")], 2, False),
        ([control_record("a", "requested"), control_record("a", "started"), control_record("a", "started", START_MS + DAY_MS)], 2, True),
        ([control_record("a", "started", START_MS + DAY_MS), control_record("a", "started")], 2, True),
        ([control_record("a", "requested"), control_record("a", "finished", START_MS + 9 * DAY_MS)], 1, False),
        ([control_record("a", "finished"), control_record("a", "requested"), control_record("a", "started")], 0, False),
        ([control_record("a", "failed"), control_record("b", "requested")], 0, True),
        ([control_record("a", "requested"), control_record("b", "requested"), control_record("b", "failed")], 0, True),
    ],
)
def test_what_is_open(records: list[MemoryRecord], days: int, is_open: bool) -> None:
    assert heard(*records).is_open(START_MS + days * DAY_MS, STALE_MS) == is_open


def test_the_pairs_of_a_request_are_those_that_were_new_and_of_an_answer_are_not() -> None:
    rounds = heard(control_record("a", "requested", pairs=700), control_record("a", "finished", pairs=90_000))
    assert rounds.latest is not None
    assert (rounds.latest.new_pairs, rounds.latest.state) == (700, "finished")
    late = heard(control_record("a", "finished", pairs=90_000)).latest
    assert late is not None
    assert late.new_pairs == 0


def test_what_is_remembered_is_bounded() -> None:
    rounds = heard(*(control_record(f"{number:032x}", "finished") for number in range(2 * KEPT)))
    assert f"{KEPT - 1:032x}" not in rounds
    assert f"{KEPT:032x}" in rounds
    assert rounds.latest is not None
    assert rounds.latest.request_id == f"{2 * KEPT - 1:032x}"


def test_ids_follow_from_each_other() -> None:
    ids = [""]
    for _ in range(50):
        ids.append(next_request_id(ids[-1]))
    assert len(set(ids)) == len(ids)
    assert all(len(bytes.fromhex(identity)) == 16 for identity in ids[1:])
    assert next_request_id("") == ids[1]
