"""A partition read record by record, past what can't be parsed, with a client that is a script."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from streams.engine.kafka.follower_client import ANSWER_S, Unparsable, is_of_a_record, one_by_one

TP = TopicPartition("t", 0)


class Scripted:
    """A consumer of one partition: what is at each offset, None where nothing comes; the clock goes on with every fetch."""

    def __init__(self, *log: str | Exception | None) -> None:
        self._log, self._at = log, 0
        self.now = 0.0

    async def position(self, tp: TopicPartition) -> int:
        return self._at

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._at = offset

    async def getmany(self, tp: TopicPartition, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        self.now += timeout_ms / 1000
        found = self._log[self._at]
        if isinstance(found, Exception):
            raise found
        if found is None:
            return {}
        self._at += 1
        return {tp: [found]}


async def read(consumer: Any, end: int, most: int = 100) -> list[Any]:
    return [one if isinstance(one, Unparsable) else one[0] async for one in one_by_one(consumer, TP, end, most, lambda: consumer.now)]


async def test_up_to_the_end() -> None:
    assert await read(Scripted("a", "b", "c"), end=2) == ["a", "b"]


async def test_no_more_than_so_many() -> None:
    assert await read(Scripted("a", "b", "c"), end=3, most=2) == ["a", "b"]


async def test_to_the_first_after_what_can_t_be_parsed() -> None:
    broken = ValueError("a header's name")
    assert await read(Scripted("a", broken, broken, "d", "e"), end=5) == ["a", Unparsable(1), Unparsable(2), "d"]


async def test_an_error_that_is_of_no_record_is_raised() -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await read(Scripted("a", TopicAuthorizationFailedError("t")), end=2)


async def test_a_record_that_never_comes_is_not_waited_for_without_end() -> None:
    consumer = Scripted("a", None)
    with pytest.raises(KafkaTimeoutError):
        await read(consumer, end=2)
    assert ANSWER_S < consumer.now < ANSWER_S + 2


def test_what_is_of_a_record() -> None:
    assert is_of_a_record(UnicodeDecodeError("utf-8", b"", 0, 1, "")) and not is_of_a_record(OSError())
