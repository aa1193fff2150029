"""A producer of rubbish is set apart, and nobody else; it comes back when it is mended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.engine.rejects import RejectGuard
from streams.errors import Reason, TooManyRejects
from streams.stages.ingest.quarantine import PRODUCERS_KEPT, Quarantine, producer_of
from tests.support.ingest_harness import JSON, RULES, Outcome, make_stage, record, run

GOOD = {"event_type": "view", "item_id": "1"}
BAD = {"event_type": "teleport", "item_id": "1"}
SMALL = replace(RULES, reject_window=500)
"""Fifty records a producer."""


def batch(
    count: int, *, first: int = 0, key: str = "", bad_share: float = 0.8, headers: tuple[tuple[str, bytes], ...] = JSON
) -> list[MemoryRecord]:
    """Records of the producers bad and good, in turns."""
    found = []
    for number in range(count):
        producer = ("bad", "good")[number % 2]
        is_bad = producer == "bad" and number // 2 % 10 < bad_share * 10
        named = (*headers, ("client-id", producer.encode())) if not key else headers
        value = (BAD if is_bad else GOOD) | {"user_id": f"u{number}"}
        found.append(record(value, *named, offset=first + number, key=key.format(producer, number).encode() if key else None))
    return found


def producers(found: Outcome) -> set[str]:
    return {letter["reason"] for letter in found.letters}


@pytest.mark.parametrize("key", ["", "{}:u{}", "{}/u{}", "{}|{}"])
def test_the_worst_producer_is_set_apart_and_the_rest_goes_on(key: str) -> None:
    stage = make_stage(SMALL)
    found = run(stage, batch(400, key=key))
    assert stage.quarantine is not None and stage.quarantine.apart == 1
    good = sum(int(user[1:]) % 2 for user in found.users)
    assert good == 200
    assert 0 < len(found.users) - good < 20, "of the bad one, only what came before it was set apart"
    assert {Reason.UNKNOWN_EVENT_TYPE, Reason.QUARANTINED} == producers(found)
    assert found.result.rejected == found.result.excused == 400 - len(found.events)
    assert len(found.events) + len(found.letters) == 400
    guard = RejectGuard(0.5, 100)
    guard.observe(found.result.rejected - found.result.excused, 400, found.result.reasons)


def test_it_comes_back_when_it_is_mended() -> None:
    stage = make_stage(SMALL)
    run(stage, batch(400))
    mended = run(stage, batch(200, first=400, bad_share=0.0))
    assert stage.quarantine is not None and stage.quarantine.apart == 0
    assert sum(letter["reason"] == Reason.QUARANTINED for letter in mended.letters) < 60
    assert len(run(stage, batch(50, first=600, bad_share=0.0)).events) == 50


def test_a_few_bad_records_set_nobody_apart() -> None:
    found = run(make_stage(SMALL), batch(400, bad_share=0.4))
    assert Reason.QUARANTINED not in producers(found)


def test_what_nobody_is_told_by_stops_the_stage_only_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    values = [record(BAD | {"user_id": "u"}, offset=number) for number in range(200)]
    found = run(make_stage(SMALL), values)
    assert (found.result.rejected, found.result.excused) == (200, 0)
    with pytest.raises(TooManyRejects):
        RejectGuard(0.5, 100).observe(found.result.rejected - found.result.excused, 200)
    guard = RejectGuard(0.5, 100, stops=False)
    for rejected in (200, 200, 0, 0, 200):
        guard.observe(rejected, 200, {"bad_item": rejected})
    said = [entry.getMessage() for entry in caplog.records]
    assert len(said) == 2, "once each time"
    assert "200 of the last 200 records were refused (bad_item 200)" in said[0] and "the rest goes on" in said[0]


def test_stopping_stays_available() -> None:
    stage = make_stage(replace(SMALL, quarantines=False))
    found = run(stage, batch(400))
    assert stage.quarantine is None
    assert (found.result.rejected, found.result.excused) == (160, 0)
    assert Reason.QUARANTINED not in producers(found)


def test_guests_and_robots_set_nobody_apart() -> None:
    values = [record(GOOD | {"user_id": "guest"}, *JSON, ("client-id", b"web"), offset=number) for number in range(300)]
    found = run(make_stage(SMALL), values)
    assert producers(found) == {Reason.NOBODY}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), min_size=1, max_size=12), st.integers(0, 2**32))
def test_records_handed_over_again_get_the_same_answer(cuts: list[tuple[bool, int]], seed: int) -> None:
    refused = [(seed >> number % 32) & 1 == 1 for number in range(200)]

    def answers(quarantine: Quarantine, begin: int, end: int) -> list[bool]:
        found = []
        for offset in range(begin, end):
            window = quarantine.window("t", 0, b"p")
            found.append(window.is_apart(offset))
            window.observe(offset, refused=refused[offset])
        return found

    wanted = answers(Quarantine(0.5, 10), 0, 200)
    again = Quarantine(0.5, 10)
    done = 0
    for back, step in cuts:
        begin = max(0, done - step) if back else done
        end = min(200, done + step)
        assert answers(again, begin, end) == wanted[begin:end]
        done = max(done, end)


def test_the_memory_is_bounded() -> None:
    quarantine = Quarantine(0.5, 10)
    for number in range(3 * PRODUCERS_KEPT):
        quarantine.window("t", 0, str(number).encode()).observe(number, refused=True)
    assert len(quarantine._windows) == PRODUCERS_KEPT


@pytest.mark.parametrize(
    ("key", "headers", "producer"),
    [
        (None, (), None),
        (b"anna", (), None),
        (b"anna@example.com", (), None),
        (b"shop-a:anna", (), b"k:shop-a"),
        (b":anna", (), None),
        (b"\xff:anna", (), None),
        (b"x" * 65 + b":a", (), None),
        (b"k:a", (("client-id", b"web"),), b"h:web"),
        (b"k:a", (("Client-Id", b"web"), ("veilstream-source", b"segment")), b"h:segment"),
        (b"k:a", (("client-id", None),), b"k:k"),
        (None, (("client-id", b"w" * 1000),), b"h:" + b"w" * 64),
    ],
)
def test_what_tells_a_producer(key: bytes | None, headers: Any, producer: bytes | None) -> None:
    assert producer_of(key, headers) == producer


def test_no_name_of_a_producer_leaves_the_stage() -> None:
    values = [record(BAD | {"user_id": "anna.schmidt"}, offset=number, key=b"anna.schmidt:1") for number in range(300)]
    found = run(make_stage(SMALL), values)
    for output in found.result.outputs:
        assert b"anna" not in b"|".join([output.key or b"", output.value or b"", *(value for _, value in output.headers)])
