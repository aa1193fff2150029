"""What an operator, a producer or a broker does to a worker on a bad day, on Apache Kafka with a stage that counts."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cramjam
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import TopicPartition

from streams import topics
from tests.support import ROOT
from tests.support.apache_kafka import ApacheKafka
from tests.support.batch_bytes import GZIP, ZSTD, changed, sealed
from tests.support.deployment import SESSION_S, Deployment, deployed, free_port, read_topic
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Row = tuple[int, bytes, bytes]
"""Partition, key, value."""


class Toy:
    """A deployment of the counting stage alone."""

    def __init__(self, deployment: Deployment) -> None:
        self.d = deployment
        self.source = deployment.topic(topics.BEHAVIOUR_CLEAN)
        self.group = f"{deployment.prefix}veilstream-toy"

    def start(self, name: str = "a", *, ready: bool = True, **settings: str) -> None:
        d = self.d
        port = d.ports[name] = free_port()
        own = {"VEILSTREAM_METRICS_PORT": str(port), "VEILSTREAM_STATE_DIR": str(d.folder / f"state-{name}"), "PYTHONPATH": str(ROOT)}
        with d.log(name).open("ab") as log:
            d.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.toy_worker"],
                env={**d.environment, **own, **settings},
                cwd=d.folder,
                stdout=log,
                stderr=log,
            )
        if ready:
            d.wait_ready(name, time.monotonic() + 60)

    def produce(self, rows: Sequence[Row], **settings: Any) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.d.bootstrap_servers, **settings)
            await producer.start()
            try:
                sent = [await producer.send(self.source, value, key=key, partition=p) for p, key, value in rows]
                await asyncio.gather(*sent)
            finally:
                await producer.stop()

        asyncio.run(send())

    def send_batch(self, change: Callable[[bytearray], bytes]) -> None:
        """Send a batch of one record with a header ``AAAA``, as ``change`` makes it."""

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.d.bootstrap_servers)
            await producer.start()
            batch = producer.create_batch()
            batch.append(key=b"k", value=b"bad", timestamp=None, headers=[("AAAA", b"x")])
            batch.close()
            build = batch._build
            batch._build = lambda: change(bytearray(build()))
            await (await producer.send_batch(batch, self.source, partition=0))
            await producer.stop()

        asyncio.run(send())

    def admin(self, action: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        async def act() -> Any:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.d.bootstrap_servers)
            await admin.start()
            try:
                return await action(admin)
            finally:
                await admin.close()

        return asyncio.run(act())

    def committed(self, partitions: int = 2) -> dict[int, int]:
        wanted = [TopicPartition(self.source, p) for p in range(partitions)]
        found = self.admin(lambda admin: admin.list_consumer_group_offsets(self.group, partitions=wanted))
        return {tp.partition: commit.offset for tp, commit in found.items()}

    def values(self) -> list[bytes]:
        return [record.value or b"" for record in self.d.read(topics.FEEDBACK)]

    def doubled(self) -> list[bytes]:
        ids = Counter(value[:16] for record in self.d.read(topics.FEEDBACK) for name, value in record.headers if name == "veilstream-id")
        return [identity for identity, count in ids.items() if count > 1]

    def wait_for(self, outputs: int, timeout: float = 60) -> list[bytes]:
        """The outputs, once there are as many."""
        found: list[bytes] = []

        def all_there() -> bool:
            found[:] = self.values()
            return len(found) >= outputs

        def logs() -> list[str]:
            return [self.d.log(name).read_text()[-1500:] for name in self.d.processes]

        wait_until(all_there, lambda: (len(found), logs()), seconds=timeout, every_s=0.2)
        return found

    def counts(self) -> dict[bytes | None, bytes | None]:
        changelog = asyncio.run(read_topic(self.d.bootstrap_servers, f"{self.group}-toy-changelog"))
        return {record.key: record.value for record in changelog}

    def wait_committed(self, expected: dict[int, int], timeout: float = 30) -> None:
        wait_until(lambda: self.committed(len(expected)) == expected, lambda: self.committed(len(expected)), seconds=timeout, every_s=0.2)


@pytest.fixture
def toy(kafka: ApacheKafka, tmp_path: Path) -> Iterator[Toy]:
    settings = {"VEILSTREAM_PARTITIONS": "2", "VEILSTREAM_COMMIT_INTERVAL_S": "0.3"}
    with deployed(tmp_path, kafka.bootstrap_servers, f"b{uuid.uuid4().hex[:8]}.", **settings) as deployment:
        yield Toy(deployment)


def zigzag(number: int) -> bytes:
    code, out = 2 * number, bytearray()
    while code >= 0x80:
        out.append(code & 0x7F | 0x80)
        code >>= 7
    return bytes([*out, code])


def rows(first: int, count: int) -> list[Row]:
    return [(i % 2, b"k%d" % (i % 6), b"v%d" % i) for i in range(first, first + count)]


def test_a_worker_stopped_beyond_its_session_writes_nothing_when_it_goes_on(toy: Toy) -> None:
    toy.start("a")
    toy.produce(rows(0, 10))
    toy.wait_for(10)
    toy.produce([(0, b"k0", b"slow:1"), *rows(10, 30)])
    time.sleep(0.3)
    toy.d.processes["a"].send_signal(signal.SIGSTOP)
    toy.start("b", HANG="no")
    toy.wait_for(41)
    toy.produce(rows(40, 60))
    toy.wait_for(101)
    before = toy.counts()
    toy.d.processes["a"].send_signal(signal.SIGCONT)
    time.sleep(5)
    assert toy.doubled() == []
    assert toy.counts() == before, "the changelog's last word is the owner's"
    assert sorted(toy.values()) == sorted([b"slow:1", *(b"v%d" % i for i in range(100))])


def test_a_batch_that_outlasts_a_rebalance_is_not_counted_for_what_came_after_it(toy: Toy) -> None:
    toy.start("a")
    toy.produce([(0, b"k", b"v%d" % i) for i in range(10)])
    toy.wait_for(10)
    toy.produce([(0, b"k", b"slow:12")])
    time.sleep(1)
    toy.start("b", ready=False)
    time.sleep(2)
    toy.produce([(0, b"k", b"v%d" % i) for i in range(11, 40)])
    time.sleep(14)
    toy.d.kill("a")
    toy.d.kill("b")
    toy.start("c", HANG="no")
    assert sorted(toy.wait_for(40)) == sorted([b"slow:12", *(b"v%d" % i for i in range(10)), *(b"v%d" % i for i in range(11, 40))])
    assert toy.doubled() == []


def test_an_output_that_the_topic_refuses_holds_up_nothing_else(toy: Toy) -> None:
    toy.start()
    limit = {"max.message.bytes": "100000", "cleanup.policy": "delete"}
    resource = ConfigResource(ConfigResourceType.TOPIC, toy.d.topic(topics.FEEDBACK), limit)
    toy.admin(lambda admin: admin.alter_configs([resource]))
    toy.produce([*((0, b"k", b"big:1000") for _ in range(400)), (0, b"k", b"big:150000"), (0, b"k", b"after"), (1, b"k1", b"beside")])
    toy.wait_for(402)
    toy.wait_committed({0: 402, 1: 1})
    assert toy.doubled() == []
    assert len(toy.d.read(topics.DEAD_LETTER)) == 1
    assert toy.d.is_ready("a")


def test_a_record_that_cannot_be_parsed_is_dead_lettered(toy: Toy) -> None:
    toy.start()
    toy.produce(rows(0, 10))

    def damaged(data: bytearray) -> bytes:
        at = data.index(b"AAAA")
        data[at : at + 4] = b"\xff\xfe\xfd\xfc"
        return changed(bytes(data))

    toy.send_batch(damaged)
    toy.produce(rows(10, 10))
    assert sorted(toy.wait_for(20)) == sorted(b"v%d" % i for i in range(20))
    toy.wait_committed({0: 11, 1: 10})
    assert len(toy.d.read(topics.DEAD_LETTER)) == 1


@pytest.mark.parametrize("codec", [GZIP, ZSTD])
def test_a_batch_that_unpacks_to_gigabytes_is_one_dead_letter(toy: Toy, codec: int) -> None:
    toy.start()
    toy.produce(rows(0, 10))
    pack = cramjam.zstd.compress if codec == ZSTD else cramjam.gzip.compress
    record = zigzag(600_000_010) + b"\0\0\0\x01" + zigzag(600_000_000)
    body = bytes(pack(record + bytes(600_000_001)))
    toy.send_batch(lambda data: sealed(data[:61] + body, codec=codec))
    toy.produce(rows(10, 10))
    assert sorted(toy.wait_for(20)) == sorted(b"v%d" % i for i in range(20))
    toy.wait_committed({0: 11, 1: 10})
    assert len(toy.d.read(topics.DEAD_LETTER)) == 1
    status = Path(f"/proc/{toy.d.processes['a'].pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 600_000, "kilobytes"


def test_aborted_transactions_are_not_read_and_leave_no_lag(toy: Toy) -> None:
    toy.start()

    async def transact() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=toy.d.bootstrap_servers, transactional_id=uuid.uuid4().hex)
        await producer.start()
        for number in range(10):
            await producer.begin_transaction()
            for i in range(5):
                await producer.send(toy.source, b"%s%d" % (b"bad" if number % 2 else b"good", 5 * number + i), key=b"k", partition=0)
            await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
        await producer.stop()

    asyncio.run(transact())
    assert all(value.startswith(b"good") for value in toy.wait_for(25))
    toy.wait_committed({0: 60, 1: 0})  # fifty records and ten markers
    lag = re.compile(r'^veilstream_lag_records{partition="0",stage="toy".*} 0\.0$', re.MULTILINE)
    wait_until(lambda: lag.search(toy.d.metrics("a")), lambda: toy.d.metrics("a"))


def test_a_topic_made_anew_while_a_worker_runs(toy: Toy) -> None:
    toy.start()
    toy.produce(rows(0, 60))
    toy.wait_for(60)
    toy.wait_committed({0: 30, 1: 30})
    toy.admin(lambda admin: admin.delete_topics([toy.source]))
    wait_until(lambda: toy.source not in toy.admin(lambda admin: admin.list_topics()), "the topic stays")
    toy.admin(lambda admin: admin.create_topics([NewTopic(toy.source, 2, 1)]))
    wait_until(lambda: toy.source in toy.admin(lambda admin: admin.list_topics()), "the topic does not come")
    toy.produce([(p, key, b"new" + value) for p, key, value in rows(0, 20)])
    toy.wait_for(80)
    assert toy.doubled() == []
    toy.d.stop("a")
    toy.start("b")
    time.sleep(3)
    assert len(toy.values()) == 80
    assert {key: int((value or b"").split(b":")[0]) for key, value in toy.counts().items()} == Counter(
        b"k%d" % (i % 6) for n in (60, 20) for i in range(n)
    ), "what is known of a shopper goes on"


def test_a_groups_offsets_are_deleted(toy: Toy) -> None:
    toy.start()
    toy.produce(rows(0, 100))
    toy.wait_for(100)
    toy.wait_committed({0: 50, 1: 50})
    toy.d.stop("a")

    async def delete_group(admin: AIOKafkaAdminClient) -> None:
        coordinator = await admin.find_coordinator(toy.group)
        answer = await admin._send_request(DeleteGroupsRequest([toy.group]), coordinator)
        assert answer.results == [(toy.group, 0)]

    toy.admin(delete_group)
    toy.produce(rows(100, 20))
    toy.start("b")
    assert sorted(toy.wait_for(120)) == sorted(b"v%d" % i for i in range(120))
    toy.wait_committed({0: 60, 1: 60})
    assert toy.doubled() == []


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
def test_more_partitions(toy: Toy, store: str) -> None:
    toy.start(VEILSTREAM_STATE_STORE=store)
    toy.produce(rows(0, 40))
    toy.wait_for(40)
    grown = {toy.d.topic(spec.name): NewPartitions(4) for spec in topics.TOPICS if spec.co_partitioned}
    toy.admin(lambda admin: admin.create_partitions(grown))
    toy.d.stop("a")
    toy.start("a", VEILSTREAM_STATE_STORE=store)
    toy.produce([(i % 4, b"n%d" % i, b"new%d" % i) for i in range(40)])
    toy.wait_for(80)
    assert toy.doubled() == []
    assert len(toy.counts()) == 6 + 40


@pytest.mark.parametrize("is_static", [False, True], ids=["a new member", "static membership"])
def test_recovery_with_100_000_keys(toy: Toy, is_static: bool) -> None:
    """First events after kill -9, with and without the local state: within a session timeout and twice what a start takes with no keys."""
    settings = {"VEILSTREAM_INSTANCE_ID": "w1"} if is_static else {}
    begin = time.monotonic()
    toy.start("a", **settings)
    toy.produce([(p, b"first", b"first") for p in range(2)])
    toy.wait_for(2)
    limit = SESSION_S + 2 * (time.monotonic() - begin)
    toy.produce([(i % 2, b"key%d" % i, b"v") for i in range(100_000)], linger_ms=50, max_batch_size=500_000)
    toy.wait_for(100_002)
    for round_, keeps_disk in enumerate((True, False)):
        toy.d.kill("a")
        begin = time.monotonic()
        toy.produce([(p, b"new", b"new%d" % round_) for p in range(2)])
        if not keeps_disk:
            shutil.rmtree(toy.d.folder / "state-a")
        toy.start("a", ready=False, **settings)
        toy.wait_for(100_002 + 2 * (round_ + 1))
        assert time.monotonic() - begin < limit
    assert toy.doubled() == []


@pytest.mark.parametrize("damaged", ["MANIFEST*", "CURRENT", "*.sst", "*.log", "missing"])
def test_a_damaged_state_folder_is_made_anew_from_the_changelog(toy: Toy, damaged: str) -> None:
    toy.start("a")
    toy.produce(rows(0, 40))
    toy.wait_for(40)
    toy.wait_committed({0: 20, 1: 20})
    toy.d.stop("a")
    files = list((toy.d.folder / "state-a").rglob("*.sst" if damaged == "missing" else damaged))
    assert files
    for file in files:
        if damaged == "missing":
            file.unlink()
        else:
            file.write_bytes(b"garbage" * 20)
    toy.produce(rows(40, 40))
    toy.start("a")
    toy.wait_for(80)
    assert toy.doubled() == []
    assert {key: (value or b"").split(b":")[0] for key, value in toy.counts().items()} == {
        b"k%d" % k: b"%d" % len(range(k, 80, 6)) for k in range(6)
    }


def test_a_planned_restart_of_one_worker_pauses_no_other_partition(toy: Toy) -> None:
    """With static membership. The delay of a record: from when it was produced to when its output was."""
    settings = {"VEILSTREAM_SESSION_TIMEOUT_S": "20"}
    toy.start("a", VEILSTREAM_INSTANCE_ID="a", **settings)
    toy.start("b", VEILSTREAM_INSTANCE_ID="b", **settings)
    is_over = threading.Event()

    async def flow() -> int:
        producer = AIOKafkaProducer(bootstrap_servers=toy.d.bootstrap_servers)
        await producer.start()
        count = 0
        while not is_over.is_set():
            await asyncio.gather(*[await producer.send(toy.source, b"v%d" % count, key=b"k", partition=p) for p in range(2)])
            count += 1
            await asyncio.sleep(0.05)
        await producer.stop()
        return 2 * count

    with ThreadPoolExecutor(1) as pool:
        flowing = pool.submit(asyncio.run, flow())
        try:
            toy.wait_for(40)
            begin = time.time()
            assert toy.d.stop("b") == {"b": 0}
            toy.start("b", VEILSTREAM_INSTANCE_ID="b", **settings)
            time.sleep(3)
        finally:
            is_over.set()
        toy.wait_for(flowing.result())
    assert toy.doubled() == []
    delays: dict[int, list[int]] = {0: [], 1: []}
    came, went = (sorted(toy.d.read(topic), key=lambda r: (r.partition, r.offset)) for topic in (topics.BEHAVIOUR_CLEAN, topics.FEEDBACK))
    for before, after in zip(came, went, strict=True):
        if before.timestamp >= 1000 * begin:
            delays[before.partition].append(after.timestamp - before.timestamp)
    longest = sorted(map(max, delays.values()))
    print("longest delays, ms:", longest)
    assert longest[0] <= 1000, longest
    assert longest[1] >= 1000, "the worker that was restarted had no partition"


def test_a_stop_without_a_broker_ends_soon(tmp_path: Path) -> None:
    broker = ApacheKafka(tmp_path / "kafka")
    broker.start()
    settings = {"VEILSTREAM_PARTITIONS": "2", "VEILSTREAM_COMMIT_INTERVAL_S": "0.3"}
    try:
        with deployed(tmp_path / "d", broker.bootstrap_servers, f"b{uuid.uuid4().hex[:8]}.", **settings) as deployment:
            toy = Toy(deployment)
            toy.start()
            toy.produce(rows(0, 20))
            toy.wait_for(20)
            broker.kill()
            time.sleep(3)
            assert deployment.stop("a", timeout=30) == {"a": 0}, "what takes longer is killed"
            broker.start()
            toy.start("b")
            toy.produce(rows(20, 20))
            assert sorted(toy.wait_for(40)) == sorted(b"v%d" % i for i in range(40))
            assert toy.doubled() == []
    finally:
        broker.kill()
