"""Every stage under its own principal, on Apache Kafka that refuses whatever no right allows."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import DescribeAclsRequest
from aiokafka.protocol.produce import ProduceRequest

from streams import topics
from streams.access.acls import commands
from streams.access.asking import Rights, granted
from streams.access.comparing import missing, too_many, unknown
from streams.access.rights import CLUSTER, ROLES, Right, all_topics, changelog_of, data_keys_of, group_of, rights_of
from streams.app import STAGES
from streams.cli.main import run
from streams.engine.kafka.batches import encode_rows
from streams.engine.kafka.broker import KafkaBroker
from streams.engine.kafka.client import BrokerClient
from streams.engine.kafka.reading import fetch
from streams.errors import AccessDenied
from streams.kafka.clients import client_config, reader
from streams.kafka.topic_records import records_so_far, write_record
from streams.kafka.topic_setup import create_topics
from streams.privacy.keys import generate_keys
from streams.serde import local_codecs
from streams.serde.records import CONSENT
from streams.settings import Settings
from tests.conftest import needs_java
from tests.support.deployment import Deployment, free_port
from tests.support.guarded_kafka import ADMIN, ANY, RightsKafka, administrator, encoded, grant, revoke
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PREFIX = "acl."
SHOP = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "2",
    "VEILSTREAM_SOURCE_TOPICS": "raw.web=segment",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_FEATURE_LOG_SHARE": "1",
    "VEILSTREAM_IDLE_CLOSE_S": "1",
}
SETTINGS = Settings.model_validate(
    {
        "topic_prefix": PREFIX,
        "app_prefix": f"{PREFIX}veilstream",
        **{name.removeprefix("VEILSTREAM_").lower(): value for name, value in SHOP.items()},
    }
)
PROCESSES = (*STAGES, "trainer")
CODECS = local_codecs()
ITEMS = [f"i{number}" for number in range(12)]


IDENTITIES = {
    topics.BEHAVIOUR_CLEAN: "event_id",
    topics.RECOMMENDATIONS: "recommendation_id",
    topics.FEEDBACK: "feedback_id",
    topics.TRAINING_PAIRS: "pair_id",
}


class Shop(Deployment):
    """Whose stages have credentials of their own."""

    kafka: RightsKafka
    tool: subprocess.Popen[str]
    """Grants the trainer's rights by Kafka's own tool, to a principal of its own."""

    def values(self, topic: str) -> list[Mapping[str, Any]]:
        """All values of a topic."""

        async def read() -> list[Mapping[str, Any]]:
            async with reader(self.kafka.settings(ADMIN, self.folder), self.topic(topic)) as consumer:
                codec = CODECS.for_topic(topic)
                return [codec.decode(record.value, record.headers) async for record in records_so_far(consumer, topic)]

        return asyncio.run(read())

    def publish(self, name: str, rows: list[str]) -> None:
        """Events, as their producers would."""
        file = self.folder / name
        file.write_text("ts,user,event_type,item,event_id\n" + "".join(rows))
        self.command("replay", "--events", str(file), by="producers")

    def start_trainer(self) -> None:
        self.ports["trainer"] = free_port()
        own = {**self.own["trainer"], "VEILSTREAM_METRICS_PORT": str(self.ports["trainer"])}
        with self.log("trainer").open("ab") as log:
            self.processes["trainer"] = subprocess.Popen(
                [sys.executable, "-m", "streams.cli.main", "trainer"],
                env={**self.environment, **own},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def wait_for_pairs(self, users: int) -> None:
        """Until so many shoppers have a pair."""
        found = wait_until(
            lambda: len({pair["pseudonym"] for pair in self.values(topics.TRAINING_PAIRS)}) >= users,
            lambda: "\n".join(self.log(stage).read_text()[-1500:] for stage in STAGES),
            every_s=0.5,
        )
        assert found

    def has_pairs(self, role: str) -> bool:
        return self.is_ready(role) and bool(re.search(r"^veilstream_trainer_pairs_total [1-9]", self.metrics(role), re.MULTILINE))

    def has_done_all(self, stage: str) -> bool:
        """Ready, and nothing is left of its sources."""
        lags = re.findall(r"^veilstream_lag_records\{.*\} (\S+)$", self.metrics(stage), re.MULTILINE)
        return self.is_ready(stage) and bool(lags) and not any(map(float, lags))

    def ended(self, role: str, seconds: float = 60) -> str:
        """The last line of a process that ends by itself, with the exit code 1."""
        process = self.processes.pop(role)
        assert process.wait(seconds) == 1
        text = self.log(role).read_text()
        assert "Traceback" not in text
        return text.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """All rights are given, topics and keys are made; nothing runs."""
    folder = tmp_path_factory.mktemp("rights")
    with needs_java():
        broker = RightsKafka(folder / "kafka")
    broker.start()
    try:
        own = {role: broker.credentials(role, folder / "passwords") for role in (*ROLES, ADMIN)}
        deployment = Shop(folder / "shop", broker.bootstrap_servers, PREFIX, SHOP, own=own)
        deployment.kafka = broker
        deployment.tool = broker.shell(acls_of_the_trainer(broker), folder)
        asyncio.run(_give_all(broker))
        generate_keys(deployment.folder / "keys")
        asyncio.run(create_topics(SETTINGS, broker.settings("operators", deployment.folder)))
        try:
            yield deployment
        finally:
            deployment.tool.kill()
            deployment.tool.wait()
            for process in list(deployment.processes):
                deployment.kill(process)
    finally:
        broker.stop()


def acls_of_the_trainer(broker: RightsKafka) -> str:
    rights = rights_of("trainer", SETTINGS, idempotent_write=True)
    options = {"bootstrap": broker.bootstrap_servers, "command_config": "admin.properties"}
    return "\n".join(commands("trainer", ["User:made-by-the-tool"], rights, **options))


async def _give_all(broker: RightsKafka) -> None:
    async with administrator(broker) as client:
        await asyncio.gather(*(grant(client, role, rights_of(role, SETTINGS)) for role in ROLES))


def change(shop: Shop, what: Any, rights: Mapping[str, Right]) -> None:
    """``grant`` or ``revoke`` one right of each role."""

    async def do() -> None:
        async with administrator(shop.kafka) as client:
            for role, right in rights.items():
                await what(client, role, [right])

    asyncio.run(do())


def line(role: str, right: Right | str) -> str:
    return (
        f"error: {role} may not {right}; an administrator of the brokers grants it with what `veilstream access acls --stage {role}` prints"
    )


def visits(first: int, last: int) -> list[str]:
    """Each of these shoppers views something, buys what may have been recommended, and comes back when that is settled."""
    begin_ms = time.time_ns() // 1_000_000 - 4 * 3_600_000
    steps = [(0, "view", "i0"), *((60 + at, "purchase", ITEMS[5 + at]) for at in range(7)), (3000, "view", "i1")]
    return [
        f"{begin_ms + after_s * 1000},u{user},{kind},{item},e{user}-{after_s}\n"
        for user in range(first, last)
        for after_s, kind, item in steps
    ]


def test_a_process_that_lacks_a_right_ends_with_its_line(shop: Shop) -> None:
    own = {role: f"{PREFIX}{topic}" for role, topic in [("ingest", topics.BEHAVIOUR_RAW), ("trainer", topics.TRAINING_PAIRS)]}
    rights = {
        "ingest": Right("topic", own["ingest"], "Read"),
        "catalogue": Right("topic", f"{PREFIX}veilstream-catalogue-items-changelog", "Create"),
        "profile": Right("topic", PREFIX + topics.PROFILE_LINKS, "Write"),
        "feedback": Right("group", group_of("feedback", SETTINGS), "Read"),
        "learning": Right("topic", PREFIX + topics.TRAINING_CONTROL, "Read"),
        "trainer": Right("topic", own["trainer"], "Read"),
    }
    change(shop, revoke, rights)
    try:
        shop.start(*STAGES, ready=False)
        shop.start_trainer()
        assert {role: shop.ended(role) for role in rights} == {role: line(role, right) for role, right in rights.items()}
    finally:
        change(shop, grant, rights)


def test_the_whole_flow_works_and_a_right_that_is_taken_away_is_told(shop: Shop) -> None:
    items = shop.folder / "items.csv"
    items.write_text("item,title\n" + "".join(f"{item},thing number {item}\n" for item in ITEMS))
    shop.command("replay", "--items", str(items), by="producers")
    shop.start(*STAGES)
    shop.start_trainer()
    answers = shop.folder / "answers.csv"
    answers.write_text("ts,user,personalization,training\n" + "".join(f"{time.time_ns() // 10**6},u{user},yes,yes\n" for user in range(8)))
    shop.command("replay", "--consents", str(answers), by="producers")
    wait_until(lambda: len(shop.values(topics.CONSENT_DECISIONS)) == 16, "what the shoppers allow is known", every_s=0.5)
    shop.publish("first.csv", visits(0, 4))
    shop.wait_for_pairs(1)
    wait_until(lambda: shop.has_pairs("trainer"), lambda: shop.log("trainer").read_text()[-2000:])
    wait_until(lambda: "veilstream_erasures_open 0.0" in shop.metrics("trainer"), "the trainer may read which erasures are open")

    own = PREFIX + "veilstream-catalogue-items-changelog"
    rights = {
        "ingest": Right("topic", PREFIX + topics.BEHAVIOUR_CLEAN, "Write"),
        "catalogue": Right("topic", own, "Write"),
        "profile": Right("topic", PREFIX + topics.RECOMMENDATIONS, "Write"),
        "feedback": Right("group", group_of("feedback", SETTINGS), "Read"),
        "learning": Right("topic", PREFIX + topics.TRAINING_TALLIES, "Read"),
        "trainer": Right("topic", PREFIX + topics.TRAINING_CONTROL, "Write"),
    }
    # Something is under way when ingest's right is taken away, and when it is gone.
    change(shop, revoke, rights)
    try:
        shop.publish("second.csv", visits(4, 8))
        shop.command("replay", "--items", str(items), by="producers")
        assert {role: shop.ended(role) for role in rights} == {role: line(role, right) for role, right in rights.items()}
    finally:
        change(shop, grant, rights)
    assert shop.log("ingest").read_text().count(f"may not Write topic {PREFIX}behaviour.clean; it is tried again") == 1
    shop.start(*STAGES)
    shop.wait_for_pairs(5)
    wait_until(lambda: all(shop.has_done_all(stage) for stage in STAGES), "everything is done", every_s=0.5)

    clean = shop.values(topics.BEHAVIOUR_CLEAN)
    events = [event for event in clean if event["event_type"] != CONSENT]
    assert len(events) == len(shop.values(topics.BEHAVIOUR_RAW)) == 8 * 9 and len(clean) == len(events) + 8
    for topic, identity in IDENTITIES.items():
        found = Counter(value[identity] for value in shop.values(topic))
        assert found and set(found.values()) == {1}, topic
    assert {event["pseudonym"] for event in events} == {shown["pseudonym"] for shown in shop.values(topics.RECOMMENDATIONS)}
    assert shop.values(topics.DEAD_LETTER) == []


async def test_a_stage_makes_its_changelog_grow(shop: Shop) -> None:
    """As it does when its source has more partitions than before. Nobody else may."""
    changelog = f"{PREFIX}veilstream-catalogue-items-changelog"

    async def grow(role: str) -> int:
        config = client_config(shop.kafka.settings(role, shop.folder))
        broker = KafkaBroker(config, group_id=group_of("catalogue", SETTINGS), topic_prefix=PREFIX, idempotent=True, fetch_wait_ms=10)
        await broker.grow(changelog, 3)
        return (await broker.partition_counts([changelog])).get(changelog, 0)

    assert await grow("profile") == 0, "it can't even see it"
    assert await grow("catalogue") == 3


async def test_readers_outside_have_their_topic_and_their_groups(shop: Shop) -> None:
    for role, topic in (("subscribers", topics.RECOMMENDATIONS), ("analysts", topics.FEEDBACK)):
        config = client_config(shop.kafka.settings(role, shop.folder))
        group = f"{group_of(role, SETTINGS)}-web"
        async with AIOKafkaConsumer(PREFIX + topic, **config, group_id=group, auto_offset_reset="earliest") as consumer:
            async with asyncio.timeout(30):
                assert (await consumer.getone()).value
            await consumer.commit()
        foreign = AIOKafkaConsumer(PREFIX + topic, **config, group_id=group_of("profile", SETTINGS))
        with pytest.raises(GroupAuthorizationFailedError):
            await foreign.start()
        await foreign.stop()


def test_commands_have_what_they_need_and_say_what_they_lack(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def veilstream(role: str, *arguments: str) -> tuple[int, str, str]:
        for name, value in {**shop.environment, **shop.own[role]}.items():
            monkeypatch.setenv(name, value)
        code = run(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, (printed.err.strip().splitlines() or [""])[-1]

    monkeypatch.chdir(shop.folder)
    file = shop.folder / "bad.csv"
    file.write_text("ts,user,event_type,item,event_id\n1700000000,u1,hug,i1,bad\n")
    assert veilstream("producers", "replay", "--events", str(file))[0] == 0
    wait_until(lambda: shop.values(topics.DEAD_LETTER), "a dead letter")
    assert "replayed" in veilstream("operators", "recover", "--set", "event_type=view", "--replay")[1]
    for arguments in (["topics", "check"], ["topics", "create"], ["models", "list"], ["trainer", "--request", "why not"]):
        assert veilstream("operators", *arguments)[0] == 0, arguments
    code, printed, _ = veilstream("privacy", "export", "u0")
    held = json.loads(printed)
    assert code == 0 and held["records"][topics.RECOMMENDATIONS] and set(held["states"]) == {"profile", "feedback"}
    assert veilstream("operators", "export", "u0")[2].startswith("error: privacy may not Read topic acl.")
    code, printed, _ = veilstream("operators", "access", "check", "--stage", "operators")
    assert code == 0 and "MISSING" not in printed and "TOO MANY" not in printed
    code, printed, _ = veilstream("analysts", "access", "check", "--stage", "subscribers")
    lines = printed.splitlines()
    assert code == 1 and f"TOO MANY  subscribers may Read topic {PREFIX}feedback, and does not need it" in lines
    assert lines[0] == f"MISSING   subscribers may not Read topic {PREFIX}recommendations; see `veilstream access acls --stage subscribers`"
    assert lines[-1] == "0 of 2 rights are there"
    assert "TOO MANY  everything is allowed on every topic" in veilstream(ADMIN, "access", "check", "--stage", "profile")[1]

    for role, arguments, of, right in (
        ("producers", ["recover"], "operators", "Read topic acl.behaviour.dead-letter"),
        ("analysts", ["models", "list"], "operators", "Read topic acl.models"),
        ("analysts", ["replay", "--events", str(file)], "producers", "Write topic acl.behaviour.raw"),
        ("ingest", ["replay", "--events", str(file)], "producers", "Write topic acl.behaviour.raw"),
        ("subscribers", ["trainer", "--request", "me too"], "trainer", "Write topic acl.training.control"),
        ("analysts", ["consent", "anna", "--allow", "training"], "producers", "Write topic acl.consent.updates"),
        ("ingest", ["topics", "check"], "operators", "DescribeConfigs topic acl.behaviour.raw"),
    ):
        assert veilstream(role, *arguments)[::2] == (1, line(of, right)), arguments
    assert veilstream("subscribers", "topics", "create")[2].startswith("error: operators may not Create topic acl.")
    said = veilstream("subscribers", "watch", topics.FEEDBACK)[2]
    assert said.startswith("error: whoever has these credentials may not Read topic acl.feedback; ") and "`veilstream access acls`" in said


def test_kafka_s_own_tool_takes_the_commands(shop: Shop) -> None:
    output, _ = shop.tool.communicate(timeout=120)
    assert shop.tool.returncode == 0, output

    async def described() -> set[tuple[str, int, int, int]]:
        async with administrator(shop.kafka) as client:
            answer = await client._send_request(DescribeAclsRequest(ANY, None, ANY, "User:made-by-the-tool", None, ANY, ANY))
        return {(name, kind, operation, pattern) for kind, name, pattern, acls in answer.resources for *_, operation, _ in acls}

    wanted = {encoded(right) for right in rights_of("trainer", SETTINGS, idempotent_write=True)}
    assert asyncio.run(described()) == wanted


def test_what_is_no_right_of_a_role_is_refused(shop: Shop) -> None:
    """Reading and writing, by the broker's own answers: those of all roles on all topics."""
    changelogs = [name for of in (changelog_of, data_keys_of) for stage in STAGES if (name := of(stage, SETTINGS)) is not None]
    names = [*(PREFIX + spec.name for spec in all_topics(SETTINGS)), *changelogs]
    assert len(names) == len(topics.TOPICS) + 1 + 4 + 2

    async def refused(role: str) -> tuple[set[str], set[str]]:
        client = BrokerClient(client_config(shop.kafka.settings(role, shop.folder)))
        await client.start()
        try:
            node = client.any_node()
            found = await fetch(client, node, {(name, 0): 0 for name in names}, max_wait_ms=1, partition_bytes=1)
            mine = {right.name for right in rights_of(role, SETTINGS) if right.operation == "Write"}
            batch = encode_rows([(b"k", b"v", ())], (-1, -1), -1, 0)
            others = [(name, [(0, batch)]) for name in names if name not in mine]
            answer = await client.send(node, ProduceRequest(None, -1, 5000, others))
            assert {error for _, parts in answer.topics for _, error, *_ in parts} == {TopicAuthorizationFailedError.errno}
            assert {part.error for part in found.values()} <= {0, 1, TopicAuthorizationFailedError.errno}
            unread = {name for (name, _), part in found.items() if part.error == TopicAuthorizationFailedError.errno}
            return unread, {name for name, _ in answer.topics}
        finally:
            await client.stop()

    async def all_refused() -> dict[str, tuple[set[str], set[str]]]:
        return {role: await refused(role) for role in ROLES}

    for role, (unread, unwritten) in asyncio.run(all_refused()).items():
        rights = rights_of(role, SETTINGS)
        assert unread == set(names) - {right.name for right in rights if right.operation == "Read"}, role
        assert unwritten == set(names) - {right.name for right in rights if right.operation == "Write"}, role


def test_a_refusal_is_one_clear_line(shop: Shop) -> None:
    """Of whatever the product reads or writes by its tools; each stage with each topic that is not its own."""

    async def lines(role: str) -> list[str]:
        settings = shop.kafka.settings(role, shop.folder)
        rights = rights_of(role, SETTINGS)
        wrong = []
        for name in (PREFIX + spec.name for spec in topics.TOPICS):
            if Right("topic", name, "Read") not in rights:
                with pytest.raises(AccessDenied) as refusal:
                    async with reader(settings, name) as consumer:
                        await consumer.getone()
                wrong += [] if refusal.value.rights == (f"Read topic {name}",) else [str(refusal.value)]
            if Right("topic", name, "Write") not in rights:
                with pytest.raises(AccessDenied) as refusal:
                    await write_record(settings, name, b"k", b"v", idempotent=True, then="try again")
                wrong += [] if refusal.value.rights == (f"Write topic {name}",) else [str(refusal.value)]
        return wrong

    async def all_lines() -> list[str]:
        return [wrong for role in PROCESSES for wrong in await lines(role)]

    assert asyncio.run(all_lines()) == []


def test_each_right_that_is_missing_is_named(shop: Shop) -> None:
    """And none that is there; and what is granted besides is seen as too many."""

    async def look(role: str) -> list[str]:
        settings, rights = shop.kafka.settings(role, shop.folder), rights_of(role, SETTINGS)
        wrong = []
        async with administrator(shop.kafka) as client:
            found = await granted(settings, rights, everything=True)
            assert (missing(rights, found), too_many(rights, found), unknown(rights, found)) == ([], [], [])
            for right in rights:
                await revoke(client, role, [right])
                refusal = await Rights(settings, role, rights).refusal()
                wrong += [] if refusal is not None and refusal.rights == (str(right),) else [f"{right}: {refusal}"]
                await grant(client, role, [right])
            extra = [
                Right("topic", PREFIX + topics.PRIVACY_AUDIT, "Alter"),
                Right("group", "somebody", "Read"),
                Right("cluster", CLUSTER, "Describe"),
            ]
            await grant(client, role, extra)
            await revoke(client, role, [rights[-1]])
            found = await granted(settings, rights, everything=True)
            assert (missing(rights, found), unknown(rights, found)) == ([rights[-1]], [])
            assert set(extra) - set(too_many(rights, found)) <= {extra[1]}, "a group that nobody is in can't be seen"
            await revoke(client, role, extra)
            await grant(client, role, [rights[-1]])
        return wrong

    async def look_all() -> list[str]:
        return [wrong for found in await asyncio.gather(*map(look, PROCESSES)) for wrong in found]

    assert asyncio.run(look_all()) == []
