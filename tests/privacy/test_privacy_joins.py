"""An attacker who knows the raw events of a minute tries to find each one's clean record by what is beside its content."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from streams.engine.records import MemoryRecord, OutputRecord
from streams.stages.ingest.rules import IngestRules
from streams.topics import BEHAVIOUR_CLEAN
from tests.support.ingest_harness import NOW, RULES, make_stage, record, run

EVENTS = 400
MOST = 9
"""Right guesses, of 400: by chance one is expected, and more than nine once in ten million times."""
Measure = Callable[[Any], Any]


def minute(rules: IngestRules = RULES, seed: int = 1) -> tuple[list[MemoryRecord], list[OutputRecord]]:
    """Views of one item within a minute, by as many shoppers, in a random order; and their clean records, in the order of the topic."""
    draw = random.Random(seed)
    users = [f"user-{number:04d}-{'x' * draw.randrange(60)}" for number in range(EVENTS)]
    raw = [
        record(
            {
                "user_id": user,
                "event_type": "view",
                "item_id": "84029E",
                "event_id": f"e{draw.getrandbits(64)}",
                "occurred_at": NOW - NOW % 60_000 + draw.randrange(20_000),
                "session_id": "s" * draw.randrange(4, 60) + str(draw.getrandbits(32)),
                "user_agent": f"Mozilla/5.0 {'y' * draw.randrange(100)}",
            },
            offset=number,
        )
        for number, user in enumerate(users)
    ]
    outcome = run(make_stage(rules), raw)
    return raw, [output for output in outcome.result.outputs if output.topic == BEHAVIOUR_CLEAN]


def right(raw: Sequence[MemoryRecord], clean: Sequence[OutputRecord], of_raw: Measure, of_clean: Measure, seed: int = 7) -> int:
    """How many are found when both sides are ordered by a measure, and the first is taken for the first. Equal ones are in random order.
    The truth is the stage's own: outputs are in the order of the records where it does not shuffle."""
    draw = random.Random(seed)
    places = list(range(len(clean)))
    draw.shuffle(places)
    guessed_raw = sorted(sorted(places, key=lambda _: draw.random()), key=lambda place: of_raw(raw[place]))
    guessed_clean = sorted(places, key=lambda place: of_clean(clean[place]))
    return sum(one == other for one, other in zip(guessed_raw, guessed_clean, strict=True))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("of_raw", "of_clean"),
    [
        (lambda one: one.timestamp, lambda one: 0),
        (lambda one: len(one.value or b""), lambda one: len(one.value)),
        (lambda one: len(one.value or b""), lambda one: len(one.value) + sum(len(v) for _, v in one.headers)),
        (lambda one: one.key or b"", lambda one: one.key),
        (lambda one: one.offset, lambda one: one.key),
        (lambda one: one.offset, lambda one: one.record_id),
        (lambda one: one.value or b"", lambda one: one.value),
        (lambda one: one.value or b"", lambda one: one.record_id),
    ],
    ids=["time", "size", "size with headers", "key", "offset and key", "offset and id", "content", "content and id"],
)
def test_no_side_channel_tells_which_record_is_which(of_raw: Measure, of_clean: Measure, seed: int) -> None:
    raw, clean = minute(seed=seed)
    assert len(clean) == EVENTS
    assert right(raw, clean, of_raw, of_clean, seed) <= MOST


def test_the_order_tells_all_unless_batches_are_shuffled() -> None:
    raw, clean = minute()
    assert [one.offset for one in raw] == sorted(one.offset for one in raw)
    by_place = {output.record_id: place for place, output in enumerate(clean)}
    _, shuffled = minute(replace(RULES, shuffles=True))
    assert by_place.keys() == {output.record_id for output in shuffled}, "the same records"
    stayed = sum(by_place[output.record_id] == place for place, output in enumerate(shuffled))
    assert stayed <= MOST


def test_one_shoppers_events_stay_in_order_when_shuffled() -> None:
    stage = make_stage(replace(RULES, shuffles=True))
    raw = [
        record({"user_id": f"u{n % 7}", "event_type": "view", "item_id": f"i{n}", "event_id": f"e{n}", "occurred_at": NOW}, offset=n)
        for n in range(200)
    ]
    events = run(stage, raw).events
    own: dict[str, list[int]] = {}
    for one in events:
        own.setdefault(one["pseudonym"], []).append(int(one["item_id"][1:]))
    assert len(own) == 7 and all(items == sorted(items) for items in own.values())
    assert [one["item_id"] for one in events] != [f"i{n}" for n in range(200)]
