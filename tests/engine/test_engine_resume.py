"""Each row of the table in ``resume``, and that no answer of it passes over a record that was not read."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import resume as module
from streams.engine.kafka.topics import OffsetAnswer, commit_in
from streams.engine.positions import CommitNote, encode_note
from streams.engine.resume import Bounds, GroupCommit, Seen, Start, fresh_base, incarnation_of, needs_all_outputs, start_of
from streams.errors import TransientError

NOW_S = 1_800_000_000.0
WHERE = {("out", 0): 12}
NOTHING = Seen(frozenset(), 0)


def commit(offset: int, *, base: int = 0, incarnation: int = 7) -> GroupCommit:
    return GroupCommit(offset, encode_note(CommitNote(WHERE, base, incarnation)))


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("offset", [3, 5, 9])
def test_a_commit_of_ours_is_gone_on_from(offset: int) -> None:
    assert start_of(commit(offset, base=100), Bounds(3, 9), 7, None, NOW_S) == Start(offset, 100, WHERE)


def test_what_retention_has_deleted_is_counted() -> None:
    assert start_of(commit(1), Bounds(3, 9), 7, None, NOW_S) == Start(3, 0, WHERE, lost=2)


def test_a_log_that_was_truncated_is_gone_on_from_at_its_end() -> None:
    assert start_of(commit(12), Bounds(3, 9), 7, None, NOW_S) == Start(9, 0, WHERE, truncated=3)


@pytest.mark.parametrize("offset", [0, 5, 12])
def test_another_incarnation_begins_at_its_start_with_a_base_of_its_own(offset: int) -> None:
    start = start_of(commit(offset, base=50), Bounds(0, 9), 8, None, NOW_S)
    assert start == Start(0, fresh_base(NOW_S, 50), WHERE, is_anew=True)


@pytest.mark.parametrize(("incarnation", "noted"), [(0, 0), (0, 7), (7, 0)])
def test_where_a_broker_tells_no_ids_a_shorter_log_was_made_anew(incarnation: int, noted: int) -> None:
    assert start_of(commit(12, incarnation=noted), Bounds(0, 9), incarnation, None, NOW_S).is_anew
    assert start_of(commit(5, incarnation=noted), Bounds(0, 9), incarnation, None, NOW_S) == Start(5, 0, WHERE)


@pytest.mark.parametrize("metadata", ["", "someone else's", "p2:damaged", "\x00\x01"])
def test_whoever_moved_the_group_is_obeyed_and_all_outputs_are_looked_up(metadata: str) -> None:
    moved = GroupCommit(5, metadata)
    assert needs_all_outputs(moved)
    assert start_of(moved, Bounds(0, 9), 7, Seen({("out", b"x")}, 40), NOW_S) == Start(5, 40, None)


def test_nothing_committed_begins_at_the_start_and_all_outputs_are_looked_up() -> None:
    assert needs_all_outputs(None)
    assert start_of(None, Bounds(3, 9), 7, NOTHING, NOW_S) == Start(3, 0, None)


def test_lost_offsets_go_on_with_the_base_that_the_outputs_tell() -> None:
    assert start_of(None, Bounds(3, 9), 7, Seen({("out", b"x")}, 40), NOW_S) == Start(3, 40, None)


def test_lost_offsets_of_a_topic_made_anew_meanwhile() -> None:
    assert start_of(None, Bounds(0, 9), 7, Seen(frozenset(), 0, 40), NOW_S) == Start(0, fresh_base(NOW_S, 40), None, is_anew=True)


commits = st.none() | st.builds(commit, st.integers(0, 40), base=st.integers(0, 1 << 40), incarnation=st.integers(0, 3))


@given(commits, st.integers(0, 20), st.integers(0, 20), st.integers(0, 3), st.integers(-1, 9))
def test_no_record_is_passed_over_in_silence(found: GroupCommit | None, begin: int, length: int, incarnation: int, others: int) -> None:
    end = begin + length
    start = start_of(found, Bounds(begin, end), incarnation, Seen(frozenset(), 0, others), NOW_S)
    assert begin <= start.offset <= end
    if found is None or start.is_anew:
        assert start.offset == begin
    else:
        assert start.offset <= max(found.offset, begin)
        assert start.offset == found.offset or start.lost == begin - found.offset > 0 or start.truncated == found.offset - end > 0
    assert not start.is_anew or start.base > 1 << 34, "above every offset that was counted before"


@given(st.floats(1_577_836_800, 1.6e10), st.floats(-1e9, 1e6))
def test_a_base_is_above_all_offsets_of_an_earlier_one_whatever_the_clocks_say(now_s: float, later_s: float) -> None:
    before = fresh_base(now_s, 0)
    assert fresh_base(now_s + later_s, before) >= before + (1 << 34)
    assert fresh_base(now_s, 0) < 1 << 62, "an int64 has room for it until the year 2477"


def test_an_incarnation_is_told_only_where_there_is_an_id() -> None:
    assert incarnation_of(bytes(16)) == 0
    assert incarnation_of(b"a" * 16) not in (0, incarnation_of(b"b" * 16))


@pytest.mark.parametrize("error", [14, 15, 16, 25, 30, -1])
def test_an_error_of_the_group_is_never_nothing_committed(error: int) -> None:
    """A coordinator that loads (14), is not there (15), or is another one (16) answers so, and without any partitions."""
    for partitions in ({}, {("t", 0): (-1, "", 0)}):
        with pytest.raises(TransientError, match="did not return the committed offset"):
            commit_in(OffsetAnswer(error, partitions), "t", 0)


@pytest.mark.parametrize("error", [3, 14, 29, 55])
def test_an_error_of_the_partition_is_never_nothing_committed(error: int) -> None:
    with pytest.raises(TransientError, match="t/0"):
        commit_in(OffsetAnswer(0, {("t", 0): (-1, "", error)}), "t", 0)


def test_a_partition_left_out_of_the_answer_is_never_nothing_committed() -> None:
    with pytest.raises(TransientError, match="left t/0 out"):
        commit_in(OffsetAnswer(0, {("t", 1): (4, "", 0)}), "t", 0)


def test_only_the_coordinators_own_word_is_nothing_committed() -> None:
    assert commit_in(OffsetAnswer(0, {("t", 0): (-1, "", 0)}), "t", 0) is None
    assert commit_in(OffsetAnswer(0, {("t", 0): (0, "note", 0)}), "t", 0) == GroupCommit(0, "note")
