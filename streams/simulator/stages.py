"""The stages and the trainer as child processes of the demo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from streams.broker.embedded import free_port
from streams.errors import ConfigurationError, FatalError

_GRACE_S = 20.0
CONSOLE_PORT = 9480
"""Always the same, so that the page can stay open from one demo to the next."""


def metrics_address(text: str) -> tuple[str, int]:
    """Host and port. Raises ConfigurationError for another text.

    >>> metrics_address("0.0.0.0:9464")
    ('0.0.0.0', 9464)
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_530:
        raise ConfigurationError(f"--metrics takes HOST:PORT, such as 127.0.0.1:9464, not {text}")
    return host.strip("[]"), int(port)


class StageProcesses:
    """Starts stages, reports whether they are ready and alive, and ends them."""

    def __init__(self, environment: Mapping[str, str], logs: Path, first_port: int | None = None) -> None:
        """``first_port``: where the first of them serves /metrics; the others at the ports after it. By default each at a free one."""
        self._first_port = first_port
        self._environment = dict(environment)
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def start(self, stages: tuple[str, ...], *, trainer: bool = False) -> None:
        """One process a stage; its output goes to ``<stage>.log``."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for stage in stages:
            self._start(stage, "worker", "--stage", stage)
        if trainer:
            self._start("trainer", "trainer")

    def metrics(self, name: str) -> dict[str, float]:
        """What a process tells at /metrics, unlabelled samples by name; empty if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[name]}/metrics", timeout=1) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return {}
        return {
            sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples if not sample.labels
        }

    def start_console(self) -> str:
        """The console beside what was started so far; the address of its page, which is there soon."""
        workers = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        port = CONSOLE_PORT if _is_free(CONSOLE_PORT) else free_port()
        self._run("console", {"VEILSTREAM_CONSOLE_WORKERS": workers, "VEILSTREAM_CONSOLE_PORT": str(port)}, "console")
        return f"http://127.0.0.1:{port}/"

    def _start(self, name: str, *command: str) -> None:
        self._ports[name] = free_port() if self._first_port is None else self._first_port + len(self._ports)
        self._run(name, {"VEILSTREAM_METRICS_PORT": str(self._ports[name])}, *command)

    def _run(self, name: str, more: Mapping[str, str], *command: str) -> None:
        environment = {**os.environ, **self._environment, **more}
        with (self._logs / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "streams.cli.main", *command], env=environment, stdout=log, stderr=log
            )

    def waiting_for(self) -> list[str]:
        """Stages that are not ready yet. Raises FatalError, with the end of its log, where one has ended."""
        self.check()
        return [stage for stage, port in self._ports.items() if not _is_ready(port)]

    def check(self) -> None:
        """Raises FatalError if a stage has ended."""
        for stage, process in self._processes.items():
            if process.poll() is not None:
                tail = (self._logs / f"{stage}.log").read_text(errors="replace").strip().splitlines()[-5:]
                raise FatalError(f"{stage} ended with code {process.returncode}; the end of {self._logs / stage}.log:\n" + "\n".join(tail))

    def stop(self) -> None:
        """SIGTERM to all, then SIGKILL to who does not listen."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
