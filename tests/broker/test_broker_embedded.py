"""The embedded broker, as the demo uses it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.broker.embedded import EmbeddedBroker
from streams.errors import BrokerUnavailable
from streams.kafka.topic_setup import create_topics
from streams.settings import KafkaSettings, Settings
from streams.topics import BEHAVIOUR_RAW, TOPICS


async def test_what_is_produced_is_consumed(tmp_path: Path) -> None:
    log = tmp_path / "made" / "broker.log"
    sent = [b"%d" % i for i in range(50)]
    with EmbeddedBroker(log=log) as broker:
        created, _ = await create_topics(Settings(partitions=2), KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
        assert set(created) == {spec.name for spec in TOPICS}
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, enable_idempotence=False)
        async with producer:
            for value in sent:
                await producer.send(BEHAVIOUR_RAW, value, key=value, headers=[("content-type", b"text/plain")])
        consumer = AIOKafkaConsumer(BEHAVIOUR_RAW, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", group_id=None)
        async with consumer:
            received = [await consumer.getone() for _ in sent]
    assert sorted(record.value or b"" for record in received) == sorted(sent)
    assert {record.partition for record in received} == {0, 1}
    assert all(record.headers == (("content-type", b"text/plain"),) for record in received)
    assert log.is_file()


def test_nothing_answers_once_it_has_stopped() -> None:
    broker = EmbeddedBroker()
    broker.start()
    host, port = broker.bootstrap_servers.split(":")
    socket.create_connection((host, int(port)), timeout=1).close()
    broker.stop()
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)), timeout=1)
    broker.stop()  # once more does no harm


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=rf"{port}.*taken"):
            EmbeddedBroker(port=port).start()


def test_a_platform_without_the_binary_is_told_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "nothing"))
    with pytest.raises(BrokerUnavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        EmbeddedBroker().start()


def test_the_command_says_where_it_listens_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-u", "-m", "streams.cli.main", "broker", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = dict(process.stdout.readline().strip().split("=", 1) for _ in range(2))
        host, port = printed["KAFKA_BOOTSTRAP_SERVERS"].split(":")
        socket.create_connection((host, int(port)), timeout=1).close()
        assert printed["VEILSTREAM_IDEMPOTENT_PRODUCER"] == "false"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130  # as after Ctrl-C
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)), timeout=1)
