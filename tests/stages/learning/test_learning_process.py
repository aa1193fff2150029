"""A worker of the learning stage, on a broker: it asks for one round, and a killed one does not ask again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.broker.embedded import EmbeddedBroker
from streams.engine.records import MemoryRecord
from streams.serde import local_codecs
from streams.topics import TRAINING_CONTROL, TRAINING_TALLIES
from tests.support.deployment import Deployment, deployed
from tests.support.learning_world import pairs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WAIT_S = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Deployment]:
    settings = {"VEILSTREAM_IDEMPOTENT_PRODUCER": "false", "VEILSTREAM_PARTITIONS": "2", "VEILSTREAM_TRAINING_MIN_PAIRS": "50"}
    with EmbeddedBroker() as broker, deployed(tmp_path / "shop", broker.bootstrap_servers, "", **settings) as deployment:
        yield deployment


def publish(shop: Deployment, records: Sequence[MemoryRecord]) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.bootstrap_servers, acks="all", enable_idempotence=False) as producer:
            for record in records:
                await producer.send_and_wait(shop.topic(record.topic), record.value, record.key, partition=record.partition)

    asyncio.run(send())


def values(shop: Deployment, topic: str) -> list[dict[str, object]]:
    codec = local_codecs().for_topic(topic)
    return [codec.decode(record.value, record.headers) for record in shop.read(topic)]


def wait_for_tally(shop: Deployment, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        newest = {told["partition"]: told["pairs"] for told in values(shop, TRAINING_TALLIES)}
        if sum(newest.values()) == count:  # type: ignore[arg-type]
            return
        time.sleep(0.5)
    raise AssertionError(f"{newest} instead of {count} pairs\n{shop.log('learning').read_text()[-3000:]}")


def test_one_round_is_asked_for_whoever_is_killed(shop: Deployment) -> None:
    shop.start("learning")
    publish(shop, pairs(range(30), 0))
    publish(shop, pairs(range(10), 1))
    wait_for_tally(shop, 40)
    assert not values(shop, TRAINING_CONTROL)
    publish(shop, pairs(range(30, 50), 0))
    deadline = time.monotonic() + WAIT_S
    while not (asked := values(shop, TRAINING_CONTROL)):
        assert time.monotonic() < deadline, shop.log("learning").read_text()[-3000:]
        time.sleep(0.2)
    shop.kill("learning")
    publish(shop, pairs(range(50, 150), 0))
    shop.start("learning")
    wait_for_tally(shop, 160)
    time.sleep(8)  # the timer has had its turn
    assert values(shop, TRAINING_CONTROL) == asked
    (request,) = asked
    assert (request["state"], request["cause"], request["pairs"]) == ("requested", "pairs", 60)
    assert "veilstream_training_running 1.0" in shop.metrics("learning")
    assert shop.stop() == {"learning": 0}
