"""A learning stage as a process on Kafka: what its tests send and wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from streams.engine.records import MemoryRecord
from streams.serde import local_codecs
from streams.topics import TRAINING_TALLIES
from tests.support.deployment import Deployment
from tests.support.waiting import wait_until

WAIT_S = 60.0


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
    def newest() -> dict[object, object]:
        return {tally["partition"]: tally["pairs"] for tally in values(shop, TRAINING_TALLIES)}

    wait_until(
        lambda: sum(newest().values()) == count,  # type: ignore[arg-type]
        lambda: f"{newest()} instead of {count} pairs\n{shop.log('learning').read_text()[-3000:]}",
        seconds=WAIT_S,
        every_s=0.5,
    )
