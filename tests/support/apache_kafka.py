"""Apache Kafka 4 in KRaft mode, one node, from its Maven artifacts."""

from __future__ import annotations

import base64
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.support.maven import fetched, java

POM = Path(__file__).resolve().parents[1] / "kafka" / "pom.xml"
_START_S = 120.0


def libraries() -> Path:
    """The folder with the broker's jars; fetched by Maven the first time. Raises JavaMissing."""
    return fetched(POM, "copy-dependencies", "-DincludeScope=runtime")


class ApacheKafka:
    """A broker process with its data in ``folder``; may be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._libraries = libraries()
        self._port, self._controller_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._write_config()
        # Joined by "=": an id may begin with a dash, which would be taken for an option.
        self.run("kafka.tools.StorageTool", "format", f"--cluster-id={_uuid()}", "-c", str(self._config), *self._format_options())

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it answers."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(self._command("kafka.Kafka", str(self._config)), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Apache Kafka did not start:\n{(self._folder / 'broker.log').read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """An orderly end."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def _config(self) -> Path:
        return self._folder / "server.properties"

    def _format_options(self) -> Sequence[str]:
        """Further options of the tool that formats the storage."""
        return ()

    def _write_config(self) -> None:
        self._config.write_text(
            f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self._controller_port}
listeners=PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{self._port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={self._folder / "data"}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=16777216
"""
        )

    def _command(self, *arguments: str) -> list[str]:
        return [*java("-cp", f"{self._libraries}/*", *arguments)]

    def run(self, *arguments: str) -> None:
        """One of Kafka's own programs, to its end."""
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.2):
                return True
        except OSError:
            return False


def _uuid() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
