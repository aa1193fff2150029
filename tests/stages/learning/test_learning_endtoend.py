"""Workers of the learning stage and an operator: one round at a time, whoever asks, is stopped or killed."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.broker.embedded import EmbeddedBroker
from streams.engine.records import MemoryRecord
from streams.stages.learning.rounds import next_request_id
from streams.topics import DEAD_LETTER, TRAINING_CONTROL, TRAINING_PAIRS
from streams.training.requests import answer
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.learning_harness import CODECS, pairs
from tests.support.learning_process import WAIT_S, publish, values, wait_for_tally
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]
TWO_TURNS_S = 11.0
"""Of the timer."""
SETTINGS = {"VEILSTREAM_PARTITIONS": "2", "VEILSTREAM_TRAINING_MIN_PAIRS": "50", "VEILSTREAM_TRAINING_PAUSE_H": "0"}


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    if request.param == "kafka":
        kafka: ApacheKafka = request.getfixturevalue("kafka")
        with deployed(tmp_path / "shop", kafka.bootstrap_servers, f"t{uuid.uuid4().hex[:8]}.", **SETTINGS) as deployment:
            yield deployment
    else:
        settings = {"VEILSTREAM_IDEMPOTENT_PRODUCER": "false", **SETTINGS}
        with EmbeddedBroker() as broker, deployed(tmp_path / "shop", broker.bootstrap_servers, "", **settings) as deployment:
            yield deployment


def finish(shop: Deployment, request: dict[str, object]) -> None:
    """What the trainer says when a round has ended."""

    async def send() -> None:
        record = answer(request, "finished", "promoted", time.time_ns() // 1_000_000)
        async with AIOKafkaProducer(bootstrap_servers=shop.bootstrap_servers, acks="all", enable_idempotence=False) as producer:
            value = CODECS.for_topic(TRAINING_CONTROL).encode(record)
            await producer.send_and_wait(shop.topic(TRAINING_CONTROL), value, record["request_id"].encode())

    asyncio.run(send())


def requests(shop: Deployment) -> list[dict[str, object]]:
    return [value for value in values(shop, TRAINING_CONTROL) if value["state"] == "requested"]


def wait_for_requests(shop: Deployment, count: int, *, no_more: bool = True) -> dict[str, object]:
    """The last one, when there are so many; with ``no_more`` it is waited for whether more come."""
    wait_until(lambda: len(requests(shop)) >= count, lambda: shop.log("learning").read_text()[-3000:], seconds=WAIT_S, every_s=0.2)
    if no_more:
        time.sleep(TWO_TURNS_S)
    found = requests(shop)
    assert len(found) == count
    return found[-1]


def tells(shop: Deployment, stage: str) -> bool:
    """Whether the worker tells that it is the one that decides, and that a round is open."""
    return bool(re.search(r"^veilstream_training_running 1\.0$", shop.metrics(stage), re.MULTILINE))


def test_one_round_at_a_time_whoever_asks(shop: Deployment) -> None:
    shop.command("trainer", "--request", "new season")
    shop.start("learning")
    publish(shop, [*pairs(range(40), 0), MemoryRecord(TRAINING_PAIRS, 0, 40, 0, b"k", b"\x00broken"), *pairs(range(30), 1)])
    wait_for_tally(shop, 70)
    operators = wait_for_requests(shop, 1)
    assert (operators["cause"], operators["reason"]) == ("operator", "new season")
    assert [letter["source_offset"] for letter in values(shop, DEAD_LETTER)] == [40]

    finish(shop, operators)
    first = wait_for_requests(shop, 2, no_more=False)
    assert (first["cause"], first["pairs"], first["request_id"]) == ("pairs", 70, next_request_id(str(operators["request_id"])))

    assert shop.stop("learning") == {"learning": 0}
    publish(shop, pairs(range(41, 101), 0))
    shop.start("learning", "learning-2")
    wait_for_tally(shop, 130)
    wait_for_requests(shop, 2)
    assert [tells(shop, stage) for stage in ("learning", "learning-2")].count(True) == 1

    finish(shop, first)
    second = wait_for_requests(shop, 3, no_more=False)
    assert (second["cause"], second["pairs"], second["request_id"]) == ("pairs", 60, next_request_id(str(first["request_id"])))
    shop.kill("learning" if tells(shop, "learning") else "learning-2")
    (left,) = shop.processes
    wait_until(lambda: tells(shop, left), lambda: shop.log(left).read_text()[-3000:], seconds=WAIT_S, every_s=0.5)
    wait_for_requests(shop, 3)
    assert shop.stop() == {left: 0}
