"""Where a source that joins others begins, and what finding that out costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from streams.engine.beginning import Beginning, Beginnings
from streams.engine.metrics import StageMetrics
from streams.engine.positions import CommitNote, Positions, decode_note, encode_note
from streams.engine.records import SourceRecord
from streams.engine.resume import Bounds, GroupCommit
from streams.engine.stamps import source_tag, stamp_of
from streams.errors import GroupPositionLost

NOW_S = 1_790_000_000.0
OUT = ("out", 0)
TAG = source_tag("toy", 0)
ID = ("out", bytes(16))
WRITTEN = 10_000_000
"""Outputs that are there: too many to look at."""


@dataclass
class FewLogs:
    """A broker with an old source that was committed, a new one, and outputs of the old one."""

    commits: dict[str, GroupCommit] = field(default_factory=dict)
    ends: dict[str, Bounds] = field(default_factory=lambda: {"old": Bounds(0, 900), "new": Bounds(0, 0)})
    outputs: int = WRITTEN
    others: bool = False
    """Whether they are all of others."""
    looked_up: list[tuple[int, int]] = field(default_factory=list)

    async def committed(self, topic: str, partition: int) -> GroupCommit | None:
        return self.commits.get(topic)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        return self.ends[topic]

    async def incarnation(self, topic: str) -> int:
        return {"old": 5, "new": 6}[topic]

    async def output_bounds(self, where: Iterable[tuple[str, int]]) -> tuple[Positions, Positions]:
        return {OUT: 0}, {OUT: self.outputs}

    async def stamps(self, begins: Positions, ends: Positions, tag: bytes) -> Mapping[bytes, set[tuple[str, bytes]]]:
        self.looked_up.append((begins[OUT], ends[OUT]))
        return {stamp_of(5, 0): {ID}} if ends[OUT] > begins[OUT] and not self.others else {}

    async def last_records(self, topic: str, partitions: int, count: int) -> list[SourceRecord]:
        return []


async def find(log: FewLogs, topic: str = "new") -> Beginning:
    metrics = StageMetrics(CollectorRegistry(), "toy")
    beginnings = Beginnings(log, stage="toy", partition=0, tag=TAG, metrics=metrics, now_s=lambda: NOW_S, lookup_most=1000)
    return await beginnings.find(topic, [OUT], [other for other in log.ends if other != topic])


def committed() -> dict[str, GroupCommit]:
    return {"old": GroupCommit(900, encode_note(CommitNote({OUT: WRITTEN}, 0, 5)))}


async def test_an_empty_source_that_joins_costs_nothing_however_much_is_written() -> None:
    log = FewLogs(committed())
    found = await find(log)
    assert log.looked_up == [] and found.written == set() and found.first_commit is not None
    note = decode_note(found.first_commit.metadata)
    assert found.first_commit.offset == 0 and note is not None and note.positions == {OUT: WRITTEN} and note.incarnation == 6
    assert note.base == found.progress.base == found.progress.next_offset > 900
    # What comes after is found from there on, and goes on where it was.
    log.commits["new"] = found.first_commit
    log.ends["new"], log.outputs = Bounds(0, 3), WRITTEN + 5
    again = await find(log)
    assert log.looked_up == [(WRITTEN, WRITTEN + 5)] and again.first_commit is None
    assert (again.progress.next_offset, again.progress.base) == (found.progress.next_offset, found.progress.base)


async def test_one_that_lost_its_own_commit_goes_on_after_all_that_it_had() -> None:
    """Whoever deletes a topic deletes the group's offsets of it. What a profile knows of the old topic's offsets must not hide new ones."""
    log = FewLogs(committed())
    before = (await find(log)).progress.next_offset
    log.commits.pop("new", None)
    later = Beginnings(
        log,
        stage="toy",
        partition=0,
        tag=TAG,
        metrics=StageMetrics(CollectorRegistry(), "toy"),
        now_s=lambda: NOW_S + 120,
        lookup_most=1000,
    )
    assert (await later.find("new", [OUT], ["old"])).progress.next_offset > before + 2**34


@pytest.mark.parametrize(
    "log",
    [
        FewLogs(committed(), {"old": Bounds(0, 900), "new": Bounds(0, 1)}),
        FewLogs({}),
    ],
    ids=["it holds something", "all commits are lost"],
)
async def test_otherwise_all_is_looked_at_or_refused(log: FewLogs) -> None:
    with pytest.raises(GroupPositionLost):
        await find(log)
    log.outputs = 10
    await find(log)
    assert log.looked_up == [(0, 10)]


async def test_where_nothing_is_written_offsets_are_the_topics_own() -> None:
    log = FewLogs(committed(), outputs=0)
    assert (await find(log)).progress.base == 0


async def test_a_topic_that_only_others_write_is_looked_through_once() -> None:
    """The audit is kept for ever. Its end is known to the group from then on, and what this partition writes comes after it."""
    log = FewLogs({"old": GroupCommit(900, encode_note(CommitNote({OUT: 0}, 0, 5)))}, others=True)
    found = await find(log, "old")
    assert log.looked_up == [(0, WRITTEN)] and found.written == set() and found.first_commit is not None
    assert found.first_commit.offset == 900 and found.progress.positions == {OUT: WRITTEN}
    log.commits["old"] = found.first_commit
    again = await find(log, "old")
    assert log.looked_up[1:] == [(WRITTEN, WRITTEN)] and again.first_commit is None and again.progress.committed == 900


async def test_a_short_tail_of_others_needs_no_commit_of_its_own() -> None:
    log = FewLogs({"old": GroupCommit(900, encode_note(CommitNote({OUT: WRITTEN - 5}, 0, 5)))}, others=True)
    found = await find(log, "old")
    assert found.first_commit is None and found.progress.positions == {OUT: WRITTEN}, "it is committed with the next offset"


async def test_where_something_of_its_own_is_found_the_position_stays() -> None:
    log = FewLogs({"old": GroupCommit(900, encode_note(CommitNote({OUT: 7}, 0, 5)))})
    found = await find(log, "old")
    assert found.written == {ID} and found.progress.positions == {OUT: 7}
