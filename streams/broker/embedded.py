"""The embedded broker: Tansu, a small broker with Kafka's protocol. It keeps everything in memory.

It is for demos and quick tests. Its data is lost when it stops. It has no idempotent producer, so workers on it run with
VEILSTREAM_IDEMPOTENT_PRODUCER=false.
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from streams.broker.binary import program
from streams.errors import BrokerUnavailable

_START_S = 15.0


class EmbeddedBroker:
    """A context manager around the broker's process."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, log: Path | None = None) -> None:
        """``port`` 0 takes a free one; the broker's own output goes to ``log``."""
        self._host = host
        self._port = port or free_port(host)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: TemporaryDirectory[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"{self._host}:{self._port}"

    def start(self) -> None:
        """Start the broker. Returns when it answers.

        Raises BrokerUnavailable and UnusableError as ``program`` does, and BrokerUnavailable if the broker ends or does not answer.
        """
        self._folder = TemporaryDirectory(prefix="veilstream-broker-")
        try:
            self._start(program(Path(self._folder.name)))
        except BaseException:
            self.stop()
            raise

    def _start(self, binary: Path) -> None:
        address = f"tcp://{self._host}:{self._port}"
        command = [
            str(binary),
            "broker",
            "--listener-url",
            address,
            "--advertised-listener-url",
            address,
            "--storage-engine",
            "memory://tansu/",
        ]
        if self._log is None:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerUnavailable(f"the embedded broker did not start at {self.bootstrap_servers}; is the port taken?")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process; everything it held is gone."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def wait(self) -> int:
        """Wait for the process to end; its exit code."""
        return self._process.wait() if self._process is not None else 0

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self._host, self._port), timeout=0.2):
                return True
        except OSError:
            return False


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
