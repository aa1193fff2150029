"""What the trainer reads, on Apache Kafka: it knows the end when it is there, and a topic that was made anew."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client import CollectorRegistry

from streams.serde import local_codecs
from streams.serde.outcomes import feedback_id, together
from streams.serde.records import Feedback
from streams.settings import KafkaSettings, Settings
from streams.topics import CONSENT_DECISIONS, FEEDBACK, PRIVACY_FORGOTTEN, PRIVACY_MOVES, RANKING_FEATURES, TRAINING_CONTROL, TRAINING_PAIRS
from streams.training.consumer import TrainerConsumer
from streams.training.metrics import TrainerMetrics
from streams.training.store import Bounds, PairStore
from tests.support import waiting
from tests.support.apache_kafka import ApacheKafka
from tests.support.trainer_data import decision, feature_log, feedback, pair

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CODECS = local_codecs()
TOPICS = (CONSENT_DECISIONS, PRIVACY_FORGOTTEN, PRIVACY_MOVES, TRAINING_PAIRS, FEEDBACK, TRAINING_CONTROL, RANKING_FEATURES)


class Harness:
    """Topics of its own, and a trainer's folder."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.servers = servers
        self.settings = Settings(topic_prefix=f"t{uuid.uuid4().hex[:8]}.", trainer_dir=folder)
        self.kafka = KafkaSettings(bootstrap_servers=servers)
        self.store = PairStore(folder, Bounds())
        self.metrics = TrainerMetrics(CollectorRegistry())

    async def make(self, *names: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        await admin.create_topics([NewTopic(self.settings.topic_prefix + name, 1, 1) for name in names])
        await admin.close()

    async def remove(self, *names: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        await admin.delete_topics([self.settings.topic_prefix + name for name in names])
        while {self.settings.topic_prefix + name for name in names} & set(await admin.list_topics()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await admin.close()
        await asyncio.sleep(1)

    async def send(self, topic: str, records: Sequence[Any]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.servers)
        await producer.start()
        for record in records:
            await producer.send(self.settings.topic_prefix + topic, CODECS.for_topic(topic).encode(record), partition=0)
        await producer.stop()

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[TrainerConsumer]:
        """One that runs, as after a start of the process."""
        intake, stop = TrainerConsumer(self.settings, self.kafka, self.store, self.metrics), asyncio.Event()
        try:
            await intake.start()
            running = asyncio.ensure_future(intake.run(stop))
            try:
                yield intake
            finally:
                stop.set()
                await running
        finally:
            await intake.stop()


@pytest.fixture
async def harness(kafka: ApacheKafka, tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(kafka.bootstrap_servers, tmp_path)
    await harness.make(*TOPICS)
    yield harness
    harness.store.close()


async def until(met: Callable[[], bool]) -> None:
    await waiting.until(met, "the intake did not get there", every_s=0.05)


def counted(intake: TrainerConsumer) -> int:
    return intake.tally.seen[0].recommended if 0 in intake.tally.seen else 0


async def test_it_is_caught_up_when_all_is_read_and_not_before(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetches that bring nothing come first, as from a broker that is slow."""
    await harness.send(TRAINING_PAIRS, [pair(n, "u", "i1") for n in range(20)])
    async with harness.intake() as intake:
        fetch, empty = intake._consumer.getmany, [True] * 3

        async def slow(**options: Any) -> Any:
            return {} if empty and empty.pop() else await fetch(**options)

        monkeypatch.setattr(intake._consumer, "getmany", slow)
        await until(lambda: intake.caught_up)
        assert len(harness.store) == 20


async def test_outcomes_that_one_record_tells_together_are_counted_each_once(harness: Harness) -> None:
    apart = [{**feedback("r", "v", 1.0, rank), "feedback_id": feedback_id("r", f"i{rank}")} for rank in range(3)]
    await harness.send(FEEDBACK, [together(cast(list[Feedback], apart)), apart[1]])
    async with harness.intake() as intake:
        await until(lambda: intake.caught_up)
        assert counted(intake) == 1
        assert harness.store.counted([one["feedback_id"] for one in apart]) == {one["feedback_id"] for one in apart}


async def test_logs_of_features_are_stored_once(harness: Harness) -> None:
    logs = [feature_log(number) for number in range(3)]
    await harness.send(RANKING_FEATURES, [*logs, logs[1]])
    async with harness.intake() as intake:
        await until(lambda: intake.caught_up)
        assert harness.store.read_logs() == logs


async def test_what_is_behind_a_transaction_is_the_end_too(harness: Harness) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=harness.servers, transactional_id=uuid.uuid4().hex)
    await producer.start()
    for number in range(2):
        await producer.begin_transaction()
        await producer.send_and_wait(
            harness.settings.topic_prefix + TRAINING_PAIRS, CODECS.for_topic(TRAINING_PAIRS).encode(pair(number, "u", "i1")), partition=0
        )
        await (producer.abort_transaction() if number else producer.commit_transaction())
    async with harness.intake() as intake:
        await until(lambda: intake.caught_up)
        assert [found["pair_id"] for found in harness.store.read()] == [f"{0:032x}"], "what was aborted is no pair"
    await producer.stop()


@pytest.mark.parametrize("while_it_runs", [False, True])
async def test_a_topic_that_was_made_anew_is_read_from_its_beginning_and_nothing_counts_twice(
    harness: Harness, while_it_runs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fill(first: int) -> None:
        await harness.send(TRAINING_PAIRS, [pair(n, "u", "i1") for n in range(first, 10)])
        await harness.send(FEEDBACK, [feedback(f"r{n}", "v", 1.0) for n in range(first, 10)])

    async def make_anew() -> None:
        await harness.remove(TRAINING_PAIRS, FEEDBACK)
        await harness.make(TRAINING_PAIRS, FEEDBACK)

    async def later() -> None:
        """Three that are known, and three that are not."""
        await fill(7)
        await harness.send(TRAINING_PAIRS, [pair(n, "u", "i1") for n in range(20, 23)])
        await harness.send(FEEDBACK, [feedback(f"r{n}", "v", 1.0) for n in range(20, 23)])

    await fill(0)
    async with harness.intake() as intake:
        await until(lambda: len(harness.store) == 10 and counted(intake) == 10)
        if while_it_runs:
            await make_anew()
            await later()
            await until(lambda: len(harness.store) == 13 and counted(intake) == 13)
    if not while_it_runs:
        await make_anew()
        await later()
    async with harness.intake() as intake:
        await until(lambda: intake.caught_up)
        assert (len(harness.store), counted(intake)) == (13, 13)
        assert harness.store.offsets(TRAINING_PAIRS) == harness.store.offsets(FEEDBACK) == {0: 6}
        assert harness.store.offsets(TRAINING_CONTROL) in ({}, {0: 0})
    found = [record.getMessage() for record in caplog.records if "recreated" in record.getMessage()]
    assert [message.partition("/")[0].removeprefix(harness.settings.topic_prefix) for message in sorted(found)] == [
        FEEDBACK,
        TRAINING_PAIRS,
    ]
    assert all("was read up to 10" in message for message in found)


async def test_a_broker_s_error_ends_nothing_and_loses_nothing(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an ACL is changed: what was fetched with the error is read again."""
    from aiokafka.errors import TopicAuthorizationFailedError

    monkeypatch.setattr("streams.training.consumer._PAUSE_S", 0.1)
    await harness.send(TRAINING_PAIRS, [pair(n, "u", "i1") for n in range(20)])
    async with harness.intake() as intake:
        fetch, errors = intake._consumer.getmany, [True] * 3

        async def denied(**options: Any) -> Any:
            fetched = await fetch(**options)
            if fetched and errors:
                errors.pop()
                raise TopicAuthorizationFailedError("training.pairs")
            return fetched

        monkeypatch.setattr(intake._consumer, "getmany", denied)
        await until(lambda: intake.caught_up and not errors)
        assert len(harness.store) == 20


def test_half_a_million_ids_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.training.store._COUNTED", 5)
    store = PairStore(tmp_path, Bounds())
    for number in range(8):
        store.advance({(FEEDBACK, 0): number + 1}, {}, [f"f{number}"])
    assert store.counted(f"f{n}" for n in range(20)) == {"f3", "f4", "f5", "f6", "f7"}
    store.begin_anew(FEEDBACK, 0, 2)
    assert store.offsets(FEEDBACK) == {0: 2}
    store.advance({(FEEDBACK, 0): 1}, {})
    assert store.offsets(FEEDBACK) == {0: 2}, "else offsets only grow"
    store.close()


async def test_who_refuses_is_forgotten_and_who_agrees_again_begins_anew(harness: Harness) -> None:
    await harness.send(TRAINING_PAIRS, [pair(1, "k1.a", "i1"), pair(2, "k1.b", "i2")])
    await harness.send(RANKING_FEATURES, [feature_log(1, user="k1.a")])
    told: list[int] = []
    async with harness.intake() as intake:
        intake._on_removed = told.append
        await until(lambda: len(harness.store) == 2 and harness.store.logs == 1)
        await harness.send(CONSENT_DECISIONS, [decision("k1.a", False)])
        await until(lambda: len(harness.store) == 1 and harness.store.logs == 0)
        await harness.send(TRAINING_PAIRS, [pair(3, "k1.a", "i1"), pair(4, "k1.b", "i1")])
        await until(lambda: len(harness.store) == 2)
    assert [found["pseudonym"] for found in harness.store.read()] == ["k1.b", "k1.b"] and told == [2]
