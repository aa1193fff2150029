"""``veilstream worker`` knows every stage, and runs several, each with a port of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from streams.app import STAGES
from streams.broker.embedded import EmbeddedBroker
from streams.cli.worker import STAGE_NAMES
from tests.support.deployment import deployed, free_ports
from tests.support.waiting import wait_until


def test_every_stage_can_be_run() -> None:
    assert tuple(STAGES) == STAGE_NAMES


@pytest.mark.slow
def test_several_stages_have_ports_of_their_own(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, deployed(tmp_path, broker.bootstrap_servers, "", VEILSTREAM_IDEMPOTENT_PRODUCER="false") as shop:
        first = free_ports(len(STAGE_NAMES))
        shop.ports = {name: first + place for place, name in enumerate(STAGE_NAMES)}
        shop.settings = {**shop.settings, "VEILSTREAM_METRICS_PORT": str(first)}
        with (tmp_path / "both.log").open("wb") as log:
            command = [sys.executable, "-m", "streams.cli.main", "worker", "--stage", "feedback", "--stage", "learning"]
            both = subprocess.Popen(command, env=shop.environment, cwd=tmp_path, stdout=log, stderr=log)
        wait_until(
            lambda: both.poll() is not None or (shop.is_ready("feedback") and shop.is_ready("learning")), (tmp_path / "both.log").read_text
        )
        assert both.poll() is None, (tmp_path / "both.log").read_text()
        assert "veilstream_training_running" in shop.metrics("learning")
        assert "veilstream_training_running" not in shop.metrics("feedback")
        both.send_signal(signal.SIGTERM)
        assert both.wait(60) == 0


def status_of(port: int) -> int:
    """Of the console's /healthz; 0 where nobody answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        return int(answer.status)
    return 0


@pytest.mark.slow
def test_the_console_beside_a_stage(tmp_path: Path) -> None:
    """A stage goes on without it; it ends with the stage."""
    with EmbeddedBroker() as broker, deployed(tmp_path, broker.bootstrap_servers, "", VEILSTREAM_IDEMPOTENT_PRODUCER="false") as shop:
        first = free_ports(2)
        shop.ports = {"learning": first}
        shop.settings = {**shop.settings, "VEILSTREAM_METRICS_PORT": str(first), "VEILSTREAM_CONSOLE_PORT": str(first + 1)}
        command = [sys.executable, "-m", "streams.cli.main", "worker", "--stage", "learning", "--console"]
        output = tmp_path / "worker.log"
        for is_taken in (False, True):
            with output.open("wb") as log, socket.socket() as other:
                if is_taken:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the console before are not over yet
                    other.bind(("127.0.0.1", first + 1))
                    other.listen()
                worker = subprocess.Popen(command, env=shop.environment, cwd=tmp_path, stdout=log, stderr=log)
                wait_until(lambda worker=worker: worker.poll() is not None or shop.is_ready("learning"), output.read_text)
                if is_taken:
                    wait_until(lambda: "the console has ended" in output.read_text(), output.read_text)
                    assert "VEILSTREAM_CONSOLE_PORT" in output.read_text()
                else:
                    wait_until(lambda: status_of(first + 1) == 200, output.read_text)
                assert worker.poll() is None and shop.is_ready("learning")
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(60) == 0
            assert not shop.is_ready("learning") and status_of(first + 1) == 0
