"""No raw id, address or number of any simulated shopper leaves the three raw topics: every byte is searched."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams import topics
from streams.serde.codec import local_codecs
from streams.simulator.shop import Shop
from tests.support.deployment import RAW_TOPICS, STAGE_ORDER, Deployment

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

HOUR_MS = 3_600_000


async def publish(deployment: Deployment, shop: Shop, start_ms: int) -> None:
    codecs = local_codecs()
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers, linger_ms=5)
    await producer.start()
    for item in shop.items:
        value = codecs.for_topic(topics.CATALOGUE_ITEMS).encode(item.value)
        await producer.send(deployment.topic(topics.CATALOGUE_ITEMS), value, key=item.item_id.encode())
    await producer.flush()
    await asyncio.sleep(5)
    raw = codecs.for_topic(topics.BEHAVIOUR_RAW)
    for hour in range(48):
        for emission in shop.step(start_ms + hour * HOUR_MS):
            value = emission.value if isinstance(emission.value, bytes) else raw.encode(emission.value)
            await producer.send(deployment.topic(topics.BEHAVIOUR_RAW), value, key=emission.key, headers=list(emission.headers))
    await producer.stop()


def leaks(secrets: list[str], haystack: bytes) -> list[str]:
    return [secret for secret in secrets if secret.encode() in haystack]


def topic_bytes(deployment: Deployment, name: str) -> bytes:
    parts: list[bytes] = []
    for record in deployment.read(name):
        parts += [record.key or b"", record.value or b"", *(header.encode() + (value or b"") for header, value in record.headers)]
    return b"\n".join(parts)


def folder_bytes(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_identity_outside_the_raw_topics(deployment: Deployment) -> None:
    deployment.settings = {"VEILSTREAM_MODEL": "hashing", "VEILSTREAM_IDLE_CLOSE_S": "1", "VEILSTREAM_LOG_LEVEL": "DEBUG"}
    start_ms = time.time_ns() // 1_000_000 - 96 * HOUR_MS
    shop = Shop(3, 300, 200, start_ms, 4 * HOUR_MS)
    secrets = shop.secrets()
    assert any("@" in secret for secret in secrets)
    assert any(secret.startswith("1") and len(secret) == 11 for secret in secrets)
    deployment.start()
    asyncio.run(publish(deployment, shop, start_ms))
    deployment.drain()
    metrics = "".join(deployment.metrics(stage) for stage in STAGE_ORDER).encode()
    assert deployment.stop() == dict.fromkeys(STAGE_ORDER, 0)

    assert len(leaks(secrets, topic_bytes(deployment, topics.BEHAVIOUR_RAW))) > 200, "the search itself must find what is there"
    raw = {deployment.topic(name) for name in RAW_TOPICS}
    searched = [name for name in deployment.all_topics() if name not in raw]
    assert any("changelog" in name for name in searched)
    sizes = {}
    for name in searched:
        found = topic_bytes(deployment, name.removeprefix(deployment.prefix))
        sizes[name.removeprefix(deployment.prefix)] = len(found)
        assert leaks(secrets, found) == [], name
    for name in (topics.BEHAVIOUR_CLEAN, topics.DEAD_LETTER, topics.RECOMMENDATIONS, topics.FEEDBACK):
        assert sizes[name] > 0, f"nothing came out on {name}"
    assert leaks(secrets, metrics) == []
    assert leaks(secrets, b"".join(deployment.log(stage).read_bytes() for stage in STAGE_ORDER)) == []
    state = folder_bytes(deployment.folder / "state")
    assert state
    assert leaks(secrets, state) == []
