"""Topics are followed at a real broker: whole or from near their end, and again after what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streams.broker.embedded import EmbeddedBroker
from streams.console import following
from streams.console.following import Follower
from streams.kafka.clients import writer
from streams.kafka.topic_setup import create_topics
from streams.settings import KafkaSettings, Settings
from streams.topics import MODELS, RECOMMENDATIONS
from tests.support.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaSettings]:
    with EmbeddedBroker() as broker:
        yield KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


class Taken:
    """What a follower was given."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.skipped = 0

    async def take(self, records: Sequence[Any]) -> None:
        self.values += [record.value for record in records]

    def skip(self, count: int) -> None:
        self.skipped += count


@asynccontextmanager
async def followed(follower: Follower) -> AsyncIterator[None]:
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def write(kafka: KafkaSettings, topic: str, numbers: range) -> None:
    """One by one: the embedded broker counts a batch as one where it tells a topic's end."""
    async with writer(kafka, idempotent=False) as producer:
        for number in numbers:
            await producer.send_and_wait(topic, value=str(number).encode(), key=b"k", partition=0)


async def test_a_topic_is_read_whole_or_from_near_its_end(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.05)
    settings = Settings.model_validate({"partitions": 1, "topic_prefix": "whole."})
    await create_topics(settings, kafka)
    await write(kafka, "whole." + MODELS, range(100))
    whole, end, begun = Taken(), Taken(), list[int]()
    followers = [
        Follower(kafka, "whole." + MODELS, whole.take, begin=lambda: begun.append(1)),
        Follower(kafka, "whole." + MODELS, end.take, newest=10, skipped=end.skip),
    ]
    async with followed(followers[0]), followed(followers[1]):
        await until(lambda: len(whole.values) == 100 and end.values[-1:] == [b"99"], lambda: (whole.values, end.values))
        assert whole.values == [str(number).encode() for number in range(100)] and begun == [1]
        assert end.values == whole.values[-10:] and end.skipped == 90
        await write(kafka, "whole." + MODELS, range(100, 105))
        await until(lambda: end.values[-1] == whole.values[-1] == b"104", lambda: (whole.values, end.values))
    assert all(follower.is_read and follower.problem is None for follower in followers)


async def test_a_topic_that_is_missing_is_told_and_read_once_it_is_there(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.05)
    monkeypatch.setattr(following, "AGAIN_S", 0.2)
    taken = Taken()
    follower = Follower(kafka, "later." + RECOMMENDATIONS, taken.take)
    async with followed(follower):
        problem = await until(lambda: follower.problem, "nothing is told")
        assert "veilstream topics create" in str(problem) and not follower.is_read
        await create_topics(Settings.model_validate({"partitions": 1, "topic_prefix": "later."}), kafka)
        await write(kafka, "later." + RECOMMENDATIONS, range(3))
        await until(lambda: len(taken.values) == 3, lambda: taken.values)
        await until(lambda: follower.is_read and follower.problem is None, "the problem stays")
