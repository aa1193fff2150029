"""How far long work is: one line on a terminal, plain lines elsewhere, nothing for what is quick."""

from __future__ import annotations

import asyncio
import doctest
import io
import os
import pty

import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st

from streams import topics
from streams.broker.embedded import EmbeddedBroker
from streams.cli import progress
from streams.cli.progress import Progress, progress_line
from streams.kafka.clients import reader
from streams.kafka.topic_records import records_so_far
from streams.kafka.topic_setup import create_topics
from streams.settings import KafkaSettings, Settings


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_doctests() -> None:
    assert doctest.testmod(progress).failed == 0


def test_without_a_terminal_it_is_a_plain_line_each_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("events", stream=stream, now=clock) as told:
        for second in range(35):
            clock.now_s = float(second)
            told.tell(second, 100, f"{second * 1000:,} published")
    assert stream.getvalue().splitlines() == [
        "events: 10 %, 90 s left, 10,000 published",
        "events: 20 %, 80 s left, 20,000 published",
        "events: 30 %, 70 s left, 30,000 published",
    ]


def test_what_is_quick_says_nothing() -> None:
    stream = io.StringIO()
    with Progress("events", stream=stream) as told:
        told.tell(1, 2)
    assert stream.getvalue() == ""


def test_on_a_terminal_one_line_is_written_anew_and_removed_at_the_end() -> None:
    primary, secondary = pty.openpty()
    clock = Clock()
    with os.fdopen(secondary, "w") as stream, Progress("events", stream=stream, now=clock) as told:
        for second in (5.0, 10.0):
            clock.now_s = second
            told.tell(second, 20)
    parts = []
    while True:
        try:
            parts.append(os.read(primary, 4096))
        except OSError:  # the other end is closed
            break
    os.close(primary)
    text = b"".join(parts).decode()
    assert "\n" not in text
    first, second, third, last = text.split("\r")[1:]
    assert first.rstrip() == "events  [#####...............]  25 %  15 s left"
    assert second.rstrip() == "events  [##########..........]  50 %  10 s left" and third.strip() == last == ""


def test_each_part_has_a_time_of_its_own() -> None:
    stream, clock = io.StringIO(), Clock()
    told = Progress("the topics", stream=stream, now=clock)
    told.tell_of("a", 1, 2)
    clock.now_s = 100.0
    told.tell_of("b", 0, 10)
    clock.now_s = 120.0
    told.tell_of("b", 5, 10)
    assert stream.getvalue().splitlines() == ["b: 0 %", "b: 50 %, 20 s left"]


@given(
    st.text(max_size=60), st.floats(0, 1e15), st.floats(0, 1e15), st.floats(0, 1e9), st.text(max_size=200), st.booleans()
)  # fmt: skip
def test_a_line_fits_eighty_columns(what: str, done: float, total: float, elapsed_s: float, note: str, bar: bool) -> None:
    assert len(progress_line(what, done, total, elapsed_s, note, bar=bar)) < 80


def test_a_topic_is_read_to_its_end_by_what_is_told() -> None:
    async def read(kafka: KafkaSettings) -> list[tuple[int, int]]:
        await create_topics(Settings.model_validate({"partitions": 2}), kafka)
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        await producer.start()
        for number in range(50):
            await producer.send_and_wait(topics.BEHAVIOUR_CLEAN, b"x", partition=number % 2)
        await producer.stop()
        told: list[tuple[int, int]] = []
        async with reader(kafka, topics.BEHAVIOUR_CLEAN) as consumer:
            found = [one async for one in records_so_far(consumer, "x", show=lambda done, total: told.append((done, total)))]
        assert len(found) == 50
        return told

    with EmbeddedBroker() as broker:
        told = asyncio.run(read(KafkaSettings.model_validate({"bootstrap_servers": broker.bootstrap_servers})))
    assert told[-1] == (50, 50) and told == sorted(told)


@pytest.mark.parametrize("total", [0, -1])
def test_nothing_to_do_is_no_division(total: int) -> None:
    assert progress_line("events", 0, total, 10.0) == "events: 0 %"
