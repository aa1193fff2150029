"""Ids that many people share are found: a hot key of events, or of sessions."""

from __future__ import annotations

import doctest
import random
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streams.stages import placeholders
from streams.stages.ingest import quarantine, shared_ids
from streams.stages.ingest.shared_ids import SharedIds
from tests.support.ingest_harness import NOW, RULES, make_stage, record, run

DAY = 86_400_000


class Counts:
    def __init__(self) -> None:
        self.shared = 0
        self.lines: dict[str, int] = {}
        self.reasons: dict[tuple[str, str], int] = {}

    def read(self, source: str, lines: int) -> None:
        self.lines[source] = self.lines.get(source, 0) + lines

    def refused(self, source: str, reason: str, events: int) -> None:
        self.reasons[source, reason] = self.reasons.get((source, reason), 0) + events

    def kept_back(self, counts: Mapping[str, int]) -> None:
        """Not looked at here."""

    def shared_id(self) -> None:
        self.shared += 1


def test_doctests() -> None:
    assert [doctest.testmod(module).failed for module in (shared_ids, quarantine, placeholders)] == [0, 0, 0]


def test_sessions() -> None:
    shared = SharedIds(events=1000, sessions=3)
    assert [shared.observe("a", NOW, f"{n % 5:032x}") for n in range(8)] == [False, False, False, True, False, False, False, False]
    assert not any(shared.observe("b", NOW, f"{n % 3:032x}") for n in range(100))


@given(st.integers(0, 2**32))
def test_many_sessions_are_counted_well_enough(seed: int) -> None:
    draw = random.Random(seed)
    shared = SharedIds(events=10_000, sessions=200)
    flagged = [n for n in range(400) if shared.observe("a", NOW, f"{draw.getrandbits(128):032x}")]
    assert len(flagged) == 1 and 170 < flagged[0] < 235


def test_made_up_sessions_do_not_fill_the_memory() -> None:
    shared = SharedIds(events=10**6, sessions=200)
    tracemalloc.start()
    for number in range(40_000):
        shared.observe(str(number % 200), NOW, f"{number * 2654435761 % 2**128:032x}")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 200 * 1_000


def test_a_new_day_begins_anew_and_an_old_event_changes_nothing() -> None:
    shared = SharedIds(events=2, sessions=3)
    assert [shared.observe("a", NOW + n % 2 * DAY, None) for n in range(6)] == [False] * 5 + [True]


def test_the_memory_is_bounded() -> None:
    shared = SharedIds(events=2, sessions=3, kept=10)
    for number in range(100):
        shared.observe(str(number), NOW, "5")
    assert len(shared._days) == 10


def test_the_stage_tells_of_them_and_passes_them_on() -> None:
    counts = Counts()
    stage = make_stage(replace(RULES, shared_sessions=5), watch=counts)
    values = [
        record({"user_id": "kiosk", "event_type": "view", "item_id": "1", "session_id": f"s{n}", "occurred_at": NOW}, offset=n)
        for n in range(20)
    ]
    assert len(run(stage, values).events) == 20
    assert (counts.shared, counts.lines) == (1, {"none": 20})


def test_refusals_are_counted_by_source_and_reason_and_no_producers_word_is_a_label() -> None:
    counts = Counts()
    stage = make_stage(watch=counts)
    run(
        stage, [record({"event": "Product Viewed", "userId": "u", "properties": {}}, source="segment"), record({}, offset=1, source="anna")]
    )
    assert counts.lines == {"segment": 1, "none": 1}
    assert counts.reasons == {("segment", "missing_item"): 1, ("none", "unknown_source"): 1}
