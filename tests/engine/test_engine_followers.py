"""Followers on Apache Kafka: what ends a topic, what can't be read, and a broker that is away or says no."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from streams.engine.followers import Follower, Watched, WatchedTogether
from streams.engine.kafka.topic_follower import TopicFollower
from streams.engine.records import SourceRecord
from streams.errors import TransientError
from tests.support.apache_kafka import ApacheKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOPIC, ALL, READ, ANY, LITERAL, DENY, ALLOW = 2, 2, 3, 1, 3, 2, 3


class GuardedKafka(ApacheKafka):
    """Asks an authorizer, which lets everybody do what no rule is about."""

    def _write_config(self) -> None:
        super()._write_config()
        with self._config.open("a") as config:
            config.write("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n")
            config.write("allow.everyone.if.no.acl.found=true\n")

    def segment(self, topic: str) -> Path:
        """The file of the first partition's records."""
        return self._folder / "data" / f"{topic}-0" / f"{0:020d}.log"


@pytest.fixture(scope="module")
def own(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    """A broker that may be killed; the session's is asked for so that both are skipped for the same reasons."""
    broker = GuardedKafka(tmp_path_factory.mktemp("own"))
    broker.start()
    yield broker
    broker.stop()


@asynccontextmanager
async def admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make(servers: str, partitions: int = 1) -> str:
    name = f"followed.{uuid.uuid4().hex[:8]}"
    async with admin(servers) as client:
        await client.create_topics([NewTopic(name, partitions, 1)])
    return name


async def produce(servers: str, topic: str, values: Sequence[int], partition: int = 0) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, b"%d" % value, partition=partition)
    finally:
        await producer.stop()


async def produce_with_a_bad_name(servers: str, topic: str, values: Sequence[int], bad: int) -> None:
    """One batch, of which one record has a header whose name is not UTF-8: librdkafka lets a producer write it."""
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        batch = producer.create_batch()
        for value in values:
            batch.append(key=None, value=b"%d" % value, timestamp=None, headers=[("AAAA", b"")] if value == bad else [])
        batch.close()
        built = bytearray(batch._build())
        at = built.index(b"AAAA")
        built[at : at + 4] = b"\xff\xfe\xfd\xfc"
        built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
        batch._build = lambda: bytes(built)
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


async def set_rule(servers: str, topic: str, *, denied: bool) -> None:
    """Whether nobody may read the topic; everything else anybody may."""
    async with admin(servers) as client:
        if denied:
            for rule in ((ALL, ALLOW), (READ, DENY)):
                await client._send_request(CreateAclsRequest(TOPIC, topic, LITERAL, "User:ANONYMOUS", "*", *rule))
        else:
            await client._send_request(DeleteAclsRequest(TOPIC, topic, LITERAL, None, None, READ, ANY))


class Seen:
    """What a follower applied."""

    def __init__(self, servers: str, topic: str, fails: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.values: list[int] = []
        self.fails = fails
        self.follower = TopicFollower({"bootstrap_servers": servers}, topic, self.apply)

    def apply(self, records: Sequence[SourceRecord]) -> None:
        for record in records:
            error = self.fails(int(record.value or b"0"))
            if error is not None:
                raise error
        self.values += [int(record.value or b"0") for record in records]

    async def until(self, what: str, met: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(60):
                while not met():  # noqa: ASYNC110 - a follower tells nobody
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not {what}: {self.values}, {self.follower.trouble}, {self.follower.failure}") from None


@asynccontextmanager
async def following(seen: Seen, partitions: int = 1) -> AsyncIterator[TopicFollower]:
    await seen.follower.start(partitions)
    try:
        yield seen.follower
    finally:
        await seen.follower.stop()


async def test_it_knows_its_end_behind_markers_aborted_records_and_deleted_ones(kafka: ApacheKafka) -> None:
    servers = kafka.bootstrap_servers
    topic = await make(servers, 4)
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=uuid.uuid4().hex)
    await producer.start()
    for value, partition in ((1, 0), (2, 1)):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"%d" % value, partition=partition)
        await (producer.commit_transaction() if value == 1 else producer.abort_transaction())
    await produce(servers, topic, [3, 4], partition=2)
    async with admin(servers) as client:
        await client.delete_records({TopicPartition(topic, 2): RecordsToDelete(before_offset=2)})
    seen = Seen(servers, topic)
    async with following(seen, 4) as follower:
        assert isinstance(follower, Watched)
        async with asyncio.timeout(20):
            await follower.caught_up()
        assert seen.values == [1], "what was aborted is not there"
        await seen.until("up to date", lambda: follower.age_s() == 0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"5", partition=3)
        await asyncio.sleep(1)
        assert seen.values == [1], "what is not committed is not there"
        assert follower.age_s() == 0, "and nobody is behind for it"
        await producer.commit_transaction()
        await seen.until("the fifth", lambda: seen.values == [1, 5])
    await producer.stop()


async def test_a_record_that_can_t_be_parsed_is_left_out_and_nothing_before_it(
    kafka: ApacheKafka, caplog: pytest.LogCaptureFixture
) -> None:
    servers = kafka.bootstrap_servers
    # What a fetch brought of other partitions is lost with the error, unless theirs come after the bad one.
    topic = await make(servers, 8)
    for partition in range(1, 8):
        await produce(servers, topic, [100 * partition, 100 * partition + 1], partition=partition)
    await produce(servers, topic, range(5))
    await produce_with_a_bad_name(servers, topic, [5, 6, 7], bad=6)
    await produce(servers, topic, [8, 9])
    await produce_with_a_bad_name(servers, topic, [10], bad=10)
    seen = Seen(servers, topic)
    with caplog.at_level(logging.WARNING, "streams"):
        async with following(seen, 8) as follower:
            async with asyncio.timeout(30):
                await follower.caught_up()
            others = sorted(value for value in seen.values if value >= 100)
            assert others == [100 * p + n for p in range(1, 8) for n in range(2)], "of the other partitions all, and once"
            assert [value for value in seen.values if value < 100] == [0, 1, 2, 3, 4, 5, 8, 9], "what is behind it in its batch is lost"
            assert follower.skipped == 3
            await produce(servers, topic, [11])
            await seen.until("what came later", lambda: seen.values[-1] == 11)
            assert (follower.trouble, follower.failure) == (None, None)
    assert [f"at {where} can't" in caplog.text for where in ("6 to 7", "10")] == [True, True]
    assert "utf-8" not in caplog.text.lower()


async def test_a_batch_that_rotted_on_the_disk_is_left_out(own: GuardedKafka) -> None:
    servers = own.bootstrap_servers
    topic = await make(servers)
    await produce(servers, topic, [0, 1, 777, 3])
    segment = own.segment(topic)
    at = segment.read_bytes().index(b"777")
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"778")
    seen = Seen(servers, topic)
    async with following(seen) as follower:
        async with asyncio.timeout(30):
            await follower.caught_up()
        assert (seen.values, follower.skipped) == ([0, 1, 3], 1)


@pytest.mark.parametrize("trouble", ["denied", "killed"])
async def test_a_broker_that_says_no_or_is_away_is_waited_for(own: GuardedKafka, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    servers = own.bootstrap_servers
    topic = await make(servers)
    await produce(servers, topic, [0, 1])
    seen = Seen(servers, topic)
    with caplog.at_level(logging.INFO, "streams"):
        async with following(seen) as follower:
            await follower.caught_up()
            await seen.until("up to date", lambda: follower.age_s() == 0)
            if trouble == "denied":
                await set_rule(servers, topic, denied=True)
            else:
                own.kill()
            try:
                await seen.until("in trouble", lambda: follower.trouble is not None)
                assert follower.trouble is not None and follower.trouble.endswith(f" at {topic}")
                assert trouble != "denied" or follower.trouble.startswith("TopicAuthorizationFailedError")
                await asyncio.sleep(3)  # long enough for a client of its own
                assert follower.age_s() >= 3 and follower.failure is None
            finally:
                if trouble == "denied":
                    await produce(servers, topic, [2])
                    await set_rule(servers, topic, denied=False)
                else:
                    await asyncio.to_thread(own.start)
                    await produce(servers, topic, [2])
            await seen.until("well again", lambda: seen.values == [0, 1, 2])
            async with asyncio.timeout(30):
                await follower.caught_up()
            await seen.until("up to date", lambda: follower.age_s() == 0 and follower.trouble is None)
    assert caplog.text.count("can't read") == 1
    assert caplog.text.count("reads again") == 1


async def test_a_bug_of_apply_is_fatal_and_told_to_whoever_waits(kafka: ApacheKafka) -> None:
    topic = await make(kafka.bootstrap_servers)
    seen = Seen(kafka.bootstrap_servers, topic, lambda value: KeyError("a bug") if value == 1 else None)
    async with following(seen) as follower:
        await follower.caught_up()
        await produce(kafka.bootstrap_servers, topic, [1, 2])
        with pytest.raises(KeyError):
            await follower.caught_up()
        assert isinstance(follower.failure, KeyError) and follower.trouble is None
        await asyncio.sleep(0.1)
        assert follower.age_s() > 0
        with pytest.raises(KeyError):
            await follower.caught_up()


async def test_what_apply_can_t_do_now_is_done_later(kafka: ApacheKafka) -> None:
    """A registry of schemas that does not answer."""
    topic = await make(kafka.bootstrap_servers)
    times = iter(range(10))
    seen = Seen(kafka.bootstrap_servers, topic, lambda value: TransientError("away") if value == 1 and next(times) < 5 else None)
    await produce(kafka.bootstrap_servers, topic, [0])
    async with following(seen) as follower:
        await follower.caught_up()
        await produce(kafka.bootstrap_servers, topic, [1, 2])
        await seen.until("in trouble", lambda: follower.trouble == f"TransientError at {topic}")
        async with asyncio.timeout(30):
            await follower.caught_up()
        assert seen.values == [0, 1, 2]


async def test_its_age_is_told_by_its_clock() -> None:
    now = [50.0]
    follower = TopicFollower({}, "t", lambda _: None, monotonic=lambda: now[0])
    assert follower.age_s() == 0, "not started"
    follower._known_at, follower._up_to_date = 50.0, True
    now[0] += 1
    assert follower.age_s() == 0
    now[0] += 59
    assert follower.age_s() == 60, "an answer is good for some seconds only"


def test_several_tell_as_one() -> None:
    quiet, late = (TopicFollower({}, name, lambda _: None, monotonic=lambda: 60.0) for name in "ab")
    late._known_at, late._trouble, late._failure = 20.0, "KafkaError at b", KeyError()

    class Both(WatchedTogether):
        def _followed(self) -> Sequence[Follower]:
            return quiet, late

    both: Watched = Both()
    assert (both.age_s(), both.trouble, both.failure) == (40.0, "KafkaError at b", late.failure)
