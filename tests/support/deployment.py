"""A whole Veilstream on a broker, by its own commands, in a folder of its own: for tests and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams import topics
from streams.app import STAGES
from streams.kafka.clients import need_topic, partition_counts
from streams.settings import KafkaSettings, unknown_settings

STAGE_ORDER = ("ingest", "catalogue", "profile", "feedback")
SESSION_S = 6
"""After so long without a word from a worker, another takes over."""


@dataclass
class Deployment:
    """Folder, environment and stage processes. Every topic and group carries ``prefix``, so many fit on one broker. ``own`` holds further
    settings of a stage, or of whoever runs a command."""

    folder: Path
    bootstrap_servers: str
    prefix: str
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unknown = unknown_settings({name: "" for values in (self.settings, *self.own.values()) for name in values})
        assert not unknown, unknown

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VEILSTREAM_", "KAFKA_")) or k == "VEILSTREAM_DATA"},
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "VEILSTREAM_TOPIC_PREFIX": self.prefix,
            "VEILSTREAM_APP_PREFIX": f"{self.prefix}veilstream",
            "VEILSTREAM_KEYS_DIR": str(self.folder / "keys"),
            "VEILSTREAM_STATE_DIR": str(self.folder / "state"),
            "VEILSTREAM_SESSION_TIMEOUT_S": f"{SESSION_S}",
            "VEILSTREAM_METRICS_HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            # Shoppers of tests that are not about consent allow everything.
            "VEILSTREAM_CONSENT_DEFAULT": "all",
            # Starts in half the time of the multilingual one, which the demo's test runs with.
            "VEILSTREAM_MODEL": "bundled-en",
            **self.settings,
        }

    def command(self, *arguments: str, timeout: float = 600, check: bool = True, by: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``veilstream …`` in the folder, with the settings of whoever it is run by."""
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli.main", *arguments],
            env={**self.environment, **self.own.get(by, {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"veilstream {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def prepare(self) -> None:
        """Keys and topics."""
        self.command("keys", "generate")
        self.command("topics", "create")

    def log(self, stage: str) -> Path:
        return self.folder / f"{stage}.log"

    def start(self, *stages: str, ready: bool = True, timeout: float = 240) -> None:
        """Start stages and wait until they say that they are ready. ``profile-2`` is another worker of profile."""
        for stage in stages or STAGE_ORDER:
            port = self.ports[stage] = free_port()
            name, _, copy = stage.partition("-")
            own = {"VEILSTREAM_METRICS_PORT": str(port), "VEILSTREAM_STATE_DIR": str(self.folder / f"state{copy}")}
            with self.log(stage).open("ab") as log:
                self.processes[stage] = subprocess.Popen(
                    [sys.executable, "-m", "streams.cli.main", "worker", "--stage", name],
                    env={**self.environment, **self.own.get(name, {}), **own},
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                )
        if ready:
            deadline = time.monotonic() + timeout
            for stage in stages or STAGE_ORDER:
                self.wait_ready(stage, deadline)

    def wait_ready(self, stage: str, deadline: float) -> None:
        while not self.is_ready(stage):
            code = self.processes[stage].poll()
            if code is not None or time.monotonic() > deadline:
                raise AssertionError(f"{stage} is not ready (exit code {code}):\n{self.log(stage).read_text()[-3000:]}")
            time.sleep(0.1)

    def is_ready(self, stage: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[stage]}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self, stage: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[stage]}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def kill(self, stage: str) -> None:
        """kill -9."""
        process = self.processes.pop(stage)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, *stages: str, timeout: float = 60) -> dict[str, int]:
        """SIGTERM; the exit codes."""
        stopping = {stage: self.processes.pop(stage) for stage in (stages or tuple(self.processes))}
        for process in stopping.values():
            process.terminate()
        codes: dict[str, int] = {}
        for stage, process in stopping.items():
            try:
                codes[stage] = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[stage] = process.wait()
        return codes

    def topic(self, name: str) -> str:
        return self.prefix + name

    def drain(self, *stages: str, timeout: float = 480) -> None:
        """Wait until the stages have committed everything, in the order of the flow, so that nothing is left in between."""
        asyncio.run(self._drain(stages or STAGE_ORDER, timeout))

    async def _drain(self, stages: Sequence[str], timeout: float) -> None:
        async with self._clients() as (consumer, admin):
            deadline = time.monotonic() + timeout
            for stage in stages:
                while behind := await self._behind(stage, consumer, admin):
                    dead = [name for name, process in self.processes.items() if process.poll() is not None]
                    if dead or time.monotonic() > deadline:
                        logs = "\n".join(f"--- {name}\n{self.log(name).read_text()[-2000:]}" for name in (dead or [stage]))
                        raise AssertionError(f"{stage} is behind by {behind}; ended: {dead}\n{logs}")
                    await asyncio.sleep(0.2)

    async def _behind(self, stage: str, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> int:
        counts = await partition_counts(admin, [self.topic(name) for name in STAGES[stage].sources])
        tps = [TopicPartition(name, p) for name, count in counts.items() for p in range(count)]
        begins = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
        try:
            committed = await admin.list_consumer_group_offsets(f"{self.prefix}veilstream-{stage}", partitions=tps)
        except GroupCoordinatorNotAvailableError:  # a fresh broker is still making its offsets topic
            committed = {}
        total = 0
        for tp in tps:
            found = committed.get(tp)
            total += ends[tp] - (found.offset if found is not None and found.offset >= 0 else begins[tp])
        return total

    @contextlib.asynccontextmanager
    async def _clients(self) -> Any:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap_servers, group_id=None, enable_auto_commit=False)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await consumer.start()
        await admin.start()
        try:
            yield consumer, admin
        finally:
            await consumer.stop()
            await admin.close()

    async def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """How many records each topic holds, by its end offsets."""
        async with self._clients() as (consumer, admin):
            counts = await partition_counts(admin, [self.topic(name) for name in names])
            ends = await consumer.end_offsets([TopicPartition(name, p) for name, count in counts.items() for p in range(count)])
        return {name: sum(end for tp, end in ends.items() if tp.topic == self.topic(name)) for name in names}

    def read(self, name: str) -> list[ConsumerRecord[bytes | None, bytes | None]]:
        """Every record of a topic, as it lies there."""
        return asyncio.run(read_topic(self.bootstrap_servers, self.topic(name)))

    def all_topics(self) -> list[str]:
        """Full names of all of this deployment's topics, changelogs included."""

        async def names() -> list[str]:
            async with self._clients() as (consumer, _):
                return sorted(name for name in await consumer.topics() if name.startswith(self.prefix))

        return asyncio.run(names())


async def read_topic(bootstrap_servers: str, topic: str) -> list[ConsumerRecord[bytes | None, bytes | None]]:
    """Every record from the beginning to the end as of now."""
    count = await need_topic(KafkaSettings(bootstrap_servers=bootstrap_servers), topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        tps = [TopicPartition(topic, p) for p in range(count)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        found: list[ConsumerRecord[bytes | None, bytes | None]] = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
    finally:
        await consumer.stop()


@contextlib.contextmanager
def deployed(folder: Path, bootstrap_servers: str, prefix: str, **settings: str) -> Iterator[Deployment]:
    """A prepared deployment; whatever of it still runs is killed at the end."""
    deployment = Deployment(folder, bootstrap_servers, prefix, settings)
    deployment.prepare()
    try:
        yield deployment
    finally:
        for stage in list(deployment.processes):
            deployment.kill(stage)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, below those that the system gives to whoever asks for any."""
    while True:
        first = random.randrange(20_000, 30_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


RAW_TOPICS = tuple(spec.name for spec in topics.TOPICS if spec.raw_identity)
