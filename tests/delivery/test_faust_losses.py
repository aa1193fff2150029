"""The two ways in which Faust 0.15.3 loses events, reproduced on Apache Kafka; and that Veilstream loses none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition

from streams import topics
from tests.support import ROOT
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


async def produce(servers: str, topic: str, values: list[bytes], key: bytes | None = None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value, key=key, partition=0)
    await producer.stop()


async def make_topic(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def committed(servers: str, group: str, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        tp = TopicPartition(topic, 0)
        try:
            found = (await admin.list_consumer_group_offsets(group, partitions=[tp])).get(tp)
        except GroupCoordinatorNotAvailableError:  # a fresh broker is still making its offsets topic
            return -1
        return -1 if found is None else int(found.offset)
    finally:
        await admin.close()


def wait(condition: Callable[[], bool], what: str, limit_s: float = 150) -> None:
    wait_until(condition, what, seconds=limit_s, every_s=0.3)


class Peer:
    """A plain Faust app in a process; as a context it is killed in the end."""

    def __init__(self, which: str, servers: str, folder: Path) -> None:
        self.log = folder / f"{which}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.faust_peer", which],
                env={**os.environ, "BROKER": servers, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def said(self, word: str) -> set[str]:
        return {line.split()[1] for line in self.log.read_text().splitlines() if line.startswith(word + " ")}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


def test_plain_faust_acknowledges_a_batch_that_raised(kafka: ApacheKafka, tmp_path: Path) -> None:
    servers = kafka.bootstrap_servers
    asyncio.run(make_topic(servers, "losses.batch"))
    asyncio.run(produce(servers, "losses.batch", [b"a", b"b", b"poison", b"c", b"d", b"e", b"f", b"g"]))
    with Peer("batch", servers, tmp_path) as peer:
        wait(lambda: asyncio.run(committed(servers, "losses-batch", "losses.batch")) >= 8, "the peer never passed the batch")
    with Peer("batch", servers, tmp_path) as again:
        asyncio.run(produce(servers, "losses.batch", [b"h"]))
        wait(lambda: "h" in again.said("processed"), "the peer did not come back")
    processed = peer.said("processed") | again.said("processed")
    assert {"a", "b", "c"}.isdisjoint(processed), "Faust no longer loses the neighbours of a poison record: simplify the runtime"
    assert {"d", "e", "f", "g", "h"} <= processed


def test_plain_faust_commits_past_an_unprocessed_message(kafka: ApacheKafka, tmp_path: Path) -> None:
    servers = kafka.bootstrap_servers
    asyncio.run(make_topic(servers, "losses.gap"))
    asyncio.run(produce(servers, "losses.gap", [b"%d" % n for n in range(10)]))
    with Peer("gap", servers, tmp_path) as peer:
        wait(lambda: asyncio.run(committed(servers, "losses-gap", "losses.gap")) == 10, "the peer never committed")
        asyncio.run(produce(servers, "losses.gap", [b"slow", b"11", b"12", b"13"]))
        wait(lambda: "13" in peer.said("processed"), "the peer did not go on")
        passed = "Faust no longer passes the gap: simplify the ledger"
        wait(lambda: asyncio.run(committed(servers, "losses-gap", "losses.gap")) > 10, passed)
    with Peer("gap", servers, tmp_path) as again:
        asyncio.run(produce(servers, "losses.gap", [b"14"]))
        wait(lambda: "14" in again.said("processed"), "the peer did not come back")
    assert "slow" not in again.said("working"), "the message that was being worked on was delivered again"


class Toy:
    """The toy stage in a process, on the deployment's topics."""

    def __init__(self, deployment: Deployment, **environment: str) -> None:
        self.port = free_port()
        self.log = deployment.folder / f"toy-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.toy_worker"],
                env={**deployment.environment, "VEILSTREAM_METRICS_PORT": str(self.port), **environment},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def __enter__(self) -> Toy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()


def values(deployment: Deployment, topic: str) -> list[bytes]:
    return sorted(record.value or b"" for record in deployment.read(topic))


def test_veilstream_loses_only_the_poison(deployment: Deployment) -> None:
    sent = [b"a", b"b", b"poison", b"c", b"d", b"e", b"f", b"g"]
    asyncio.run(produce(deployment.bootstrap_servers, deployment.topic(topics.BEHAVIOUR_CLEAN), sent, key=b"k"))
    with Toy(deployment) as toy:
        wait(lambda: len(values(deployment, topics.FEEDBACK)) >= 7, f"not all came out: {toy.log}")
        assert values(deployment, topics.FEEDBACK) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]
        assert values(deployment, topics.DEAD_LETTER) == [b"poison"]
        group = f"{deployment.prefix}veilstream-toy"
        wait(
            lambda: asyncio.run(committed(deployment.bootstrap_servers, group, deployment.topic(topics.BEHAVIOUR_CLEAN))) == 8,
            "not committed",
        )
        assert "handler_errors_total" in toy.metrics()


def test_veilstream_never_commits_past_what_is_not_done(deployment: Deployment) -> None:
    source = deployment.topic(topics.BEHAVIOUR_CLEAN)
    group = f"{deployment.prefix}veilstream-toy"
    servers = deployment.bootstrap_servers
    asyncio.run(produce(servers, source, [b"%d" % n for n in range(10)], key=b"k"))
    with Toy(deployment):
        wait(lambda: asyncio.run(committed(servers, group, source)) == 10, "the first ten were not committed")
        asyncio.run(produce(servers, source, [b"hang", b"11", b"12", b"13"], key=b"k"))
        time.sleep(4)
        assert asyncio.run(committed(servers, group, source)) <= 11
        assert b"hang" not in values(deployment, topics.FEEDBACK)
    with Toy(deployment, HANG="no") as again:
        wait(lambda: asyncio.run(committed(servers, group, source)) == 14, "the rest was not done")
        assert values(deployment, topics.FEEDBACK) == sorted([b"%d" % n for n in range(10)] + [b"hang", b"11", b"12", b"13"])
        again.process.terminate()
        assert again.process.wait(30) == 0
