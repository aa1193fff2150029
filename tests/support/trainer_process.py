"""A shop with a trainer as a process, on the embedded broker: fixtures."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.broker.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.serde import local_codecs
from streams.settings import load_kafka_settings, load_settings
from streams.topics import CATALOGUE_ITEMS, TRAINING_CONTROL, TRAINING_PAIRS
from tests.support.deployment import free_port
from tests.support.trainer_data import model, shop_items, shop_pairs

CODECS = local_codecs()
SETTINGS = {
    "IDEMPOTENT_PRODUCER": "false",
    "METRICS_HOST": "127.0.0.1",
    "DEVICE": "cpu",
    "PRECISION": "fp32",
    "TRAINER_MINUTES": "0.1",
    "TRAINER_BATCH_SIZE": "64",
    "TRAINER_GATE_CASES": "20",
    "TRAINER_GATE_USERS": "10",
    "TRAINER_GATE_TOLERANCE": "1",
    "TRAINER_CANARY_SHARE": "0.5",
    "TRAINER_CANARY_RECOMMENDATIONS": "50",
    "TRAINER_CHECKPOINT_MINUTES": "0.01",
    "POPULARITY_WEIGHT": "0",
}


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


class Shop:
    """A folder, topics of its own, and the trainer's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "trainer.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def send(self, topic: str, records: Sequence[tuple[str, Any]]) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=load_kafka_settings().bootstrap_servers)
            await producer.start()
            encode = CODECS.for_topic(topic).encode
            for key, value in records:
                await producer.send(load_settings().topic_prefix + topic, encode(value), key.encode(), partition=0)
            await producer.stop()

        asyncio.run(send())

    def read(self, topic: str) -> list[dict[str, Any]]:
        """All that the first partition holds."""

        async def read() -> list[dict[str, Any]]:
            consumer = AIOKafkaConsumer(bootstrap_servers=load_kafka_settings().bootstrap_servers, enable_auto_commit=False)
            await consumer.start()
            consumer.assign([TopicPartition(load_settings().topic_prefix + topic, 0)])
            await consumer.seek_to_beginning()
            found = []
            while records := [r for some in (await consumer.getmany(timeout_ms=500)).values() for r in some]:
                found += [CODECS.for_topic(topic).decode(r.value, r.headers) for r in records]
            await consumer.stop()
            return found

        return asyncio.run(read())

    def fill(self) -> None:
        """Catalogue and pairs."""
        blank = {
            "brand": None,
            "description": None,
            "price": None,
            "currency": None,
            "in_stock": True,
            "blocked": False,
            "tags": [],
            "updated_at": None,
            "group_id": None,
            "titles": {},
            "image_links": [],
        }
        items = [(i, {"item_id": i, "title": f.text, "category": f.category, **blank}) for i, f in shop_items().items()]
        self.send(CATALOGUE_ITEMS, items)
        self.send(TRAINING_PAIRS, [(pair["pseudonym"], pair) for pair in shop_pairs()])

    def start(self) -> None:
        self.port = free_port()
        environment = {**os.environ, "VEILSTREAM_METRICS_PORT": str(self.port), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli.main", "trainer"], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Seconds that it took; with SIGKILL its child dies, too, as in a container."""
        assert self.process is not None
        began = time.monotonic()
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        code = self.process.wait(30)
        assert code == (-number if number == signal.SIGKILL else 0), self.log.read_text()[-3000:]
        return time.monotonic() - began

    def wait(self, what: str, met: Callable[[], Any], seconds: float = 90) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := met()):
            alive = self.process is None or self.process.poll() is None
            assert alive and time.monotonic() < deadline, f"{what} did not happen:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.1)
        return found

    def metrics(self) -> str:
        """What the process tells; nothing while it does not listen yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def states(self) -> list[str]:
        return [record["state"] for record in self.read(TRAINING_CONTROL)]


@pytest.fixture
def shop(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)
    own = {
        "KEYS_DIR": tmp_path / "keys",
        "MODELS": tmp_path / "store",
        "MODEL": model(tmp_path / "model"),
        "TRAINER_DIR": tmp_path / "trainer",
        "TOPIC_PREFIX": f"t{uuid.uuid4().hex[:8]}.",
    }
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    for name, value in {**SETTINGS, **own}.items():
        monkeypatch.setenv(f"VEILSTREAM_{name}", str(value))
    assert run(["topics", "create"]) == 0
    assert run(["keys", "generate", "--only", "models"]) == 0
    shop = Shop(tmp_path)
    shop.fill()
    yield shop
    if shop.process is not None and shop.process.poll() is None:
        os.killpg(shop.process.pid, signal.SIGKILL)
        shop.process.wait()
