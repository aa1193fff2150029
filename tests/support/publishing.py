"""Publishes to a deployment's topics as a shop would: JSON, keyed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.support.deployment import Deployment

JSON = [("content-type", b"application/json")]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def publish(shop: Deployment, topic: str, rows: Sequence[tuple[str, dict[str, Any]]], over_s: float = 0.0) -> None:
    """Keys and values, in this order, spread over so many seconds."""
    producer = AIOKafkaProducer(bootstrap_servers=shop.bootstrap_servers)
    await producer.start()
    try:
        for key, value in rows:
            await producer.send(shop.topic(topic), json.dumps(value).encode(), key=key.encode(), headers=JSON)
            if over_s:
                await asyncio.sleep(over_s / len(rows))
    finally:
        await producer.stop()
