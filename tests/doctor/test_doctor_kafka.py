"""``veilstream doctor`` against Apache Kafka: without rights, and where each role has its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from streams.access.rights import ROLES, Right, rights_of
from streams.app import STAGES
from streams.kafka.clients import connect_admin
from streams.kafka.topic_setup import create_topics
from streams.privacy.keys import generate_keys
from streams.settings import KafkaSettings, Settings
from tests.conftest import needs_java
from tests.support.deployment import Deployment
from tests.support.guarded_kafka import ADMIN, RightsKafka, administrator, grant, revoke

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "streams.cli.main", "doctor", "--json"]
PREFIX = "doc."


def examined(deployment: Deployment, *words: str, by: str = "", code: int | None = None) -> dict[str, list[tuple[str, str, str | None]]]:
    """State, text and fix of what each check found."""
    begin = time.monotonic()
    done = deployment.command("doctor", "--json", *words, check=False, by=by)
    assert done.stderr == "" and time.monotonic() - begin < 60
    assert code is None or done.returncode == code, done.stdout
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["check"], []).append((one["state"], one["what"], one["fix"]))
    return found


def states(found: list[tuple[str, str, str | None]]) -> list[str]:
    return [state for state, _, _ in found]


def test_a_whole_deployment_is_well(deployment: Deployment) -> None:
    before = deployment.all_topics()
    found = examined(deployment, code=0)
    assert {check: {state for state, _, _ in told} for check, told in found.items() if check not in ("memory", "files", "disk")} == {
        **{name: {"ok"} for name in ("settings", "keys", "broker", "topics", "rights", "model", "registry", "clock")}
    }
    assert "1 broker, a round trip takes" in found["broker"][0][1] and "21 topics, 4 partitions" in found["topics"][0][1]
    assert found["clock"][0][1].startswith("within 0.")  # told by the cluster itself
    assert deployment.all_topics() == before
    assert sum(asyncio.run(deployment.sizes([name.removeprefix(deployment.prefix) for name in before])).values()) == 0


@pytest.mark.parametrize("stage", [*STAGES, "trainer"])
def test_each_stage_alone_is_well(deployment: Deployment, stage: str) -> None:
    assert examined(deployment, "--stage", stage, code=0)["rights"][0][0] == "ok"


async def _change(servers: str, remove: str, make: NewTopic) -> None:
    admin = await connect_admin(KafkaSettings(bootstrap_servers=servers))
    try:
        await admin.delete_topics([remove, make.name])
        for _ in range(100):
            if not {remove, make.name} & set(await admin.list_topics()):
                break
            await asyncio.sleep(0.1)
        await admin.create_topics([make])
    finally:
        await admin.close()


def test_topics_that_are_missing_or_wrong(deployment: Deployment) -> None:
    feedback, models = deployment.topic("feedback"), deployment.topic("models")
    asyncio.run(_change(deployment.bootstrap_servers, models, NewTopic(feedback, 7, 1, topic_configs={"cleanup.policy": "compact"})))
    missing, wrong = examined(deployment, code=1)["topics"]
    assert missing == ("fault", f"{models} is missing", "run `veilstream topics create`")
    assert wrong == ("fault", f"{feedback} has 7 partitions, the others that must match have 4", "make it anew with as many")
    assert [what for state, what, _ in examined(deployment, "--stage", "ingest", code=0)["topics"] if state == "fault"] == []


def test_a_clock_that_is_wrong(deployment: Deployment) -> None:
    """The clock of the process, moved by an hour; the cluster's stays."""
    code = (
        "import sys, time; now = time.time; time.time = lambda: now() - 3600\n"
        "from streams.cli.main import run; sys.exit(run(['doctor', '--json', '--stage', 'ingest']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=deployment.environment, cwd=deployment.folder, capture_output=True, text=True, check=False)
    (clock,) = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "clock"]
    assert done.returncode == 1 and clock["state"] == "fault"
    assert "is 3600." in clock["what"] or "is 3599." in clock["what"]
    assert "behind the cluster's" in clock["what"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, RightsKafka]]:
    """Every role has its rights; topics and keys are made."""
    folder = tmp_path_factory.mktemp("guarded")
    with needs_java():
        broker = RightsKafka(folder / "kafka")
    broker.start()
    try:
        own = {role: broker.credentials(role, folder / "passwords") for role in (*ROLES, ADMIN)}
        shop = Deployment(folder / "shop", broker.bootstrap_servers, PREFIX, {"VEILSTREAM_MODEL": "hashing"}, own=own)
        settings = settings_of(shop)
        asyncio.run(_all_rights(broker, settings))
        generate_keys(shop.folder / "keys")
        asyncio.run(create_topics(settings, broker.settings("operators", shop.folder)))
        yield shop, broker
    finally:
        broker.stop()


def settings_of(shop: Deployment) -> Settings:
    return Settings.model_validate({"topic_prefix": shop.prefix, "app_prefix": f"{shop.prefix}veilstream"})


async def _all_rights(broker: RightsKafka, settings: Settings) -> None:
    async with administrator(broker) as client:
        await asyncio.gather(*(grant(client, role, rights_of(role, settings)) for role in ROLES))


def change(broker: RightsKafka, what: Any, role: str, right: Right) -> None:
    async def do() -> None:
        async with administrator(broker) as client:
            await what(client, role, [right])

    asyncio.run(do())


@pytest.mark.parametrize("role", [*STAGES, "trainer"])
def test_with_its_own_rights_a_stage_is_well(guarded: tuple[Deployment, RightsKafka], role: str) -> None:
    shop, _ = guarded
    found = examined(shop, "--stage", role, by=role, code=0)
    assert found["rights"][0][0] == "ok" and f"rights of {role} are there" in found["rights"][0][1]
    assert states(found["topics"]) == ["ok", "skipped"] and "DescribeConfigs" in found["topics"][1][1]
    assert found["clock"][0][0] == "skipped" and "may Describe the cluster" in found["clock"][0][1]


def test_a_right_that_is_missing_is_named_with_the_command_that_grants_it(guarded: tuple[Deployment, RightsKafka]) -> None:
    shop, broker = guarded
    right = Right("topic", f"{PREFIX}recommendations", "Write")
    read = Right("topic", f"{PREFIX}recommendations", "Read")
    for one in (right, read):
        change(broker, revoke, "profile", one)
    try:
        found = examined(shop, "--stage", "profile", by="profile", code=1)
    finally:
        for one in (right, read):
            change(broker, grant, "profile", one)
    state, what, fix = found["rights"][0]
    assert (state, what) == ("fault", f"profile may not Read, Write topic {PREFIX}recommendations")
    assert fix == "an administrator of the brokers grants it with what `veilstream access acls --stage profile` prints"
    # It may not be seen now; that it is missing would be wrong.
    assert "fault" not in states(found["topics"])


def test_somebody_elses_credentials_lack_rights(guarded: tuple[Deployment, RightsKafka]) -> None:
    shop, _ = guarded
    found = examined(shop, "--stage", "profile", by="ingest", code=1)
    assert found["rights"][0][0] == "fault" and found["broker"][0][0] == "ok"


def test_a_password_that_is_refused_is_said(guarded: tuple[Deployment, RightsKafka]) -> None:
    shop, _ = guarded
    file = shop.folder / "wrong.password"
    file.write_text("wrong\n")
    environment = {**shop.environment, **shop.own["profile"], "KAFKA_SASL_PASSWORD_FILE": str(file)}
    done = subprocess.run([*COMMAND], env=environment, cwd=shop.folder, capture_output=True, text=True, check=False)
    (broker,) = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "broker"]
    assert broker["state"] == "fault" and "refused the user profile" in broker["what"] and "KAFKA_SASL_PASSWORD_FILE" in broker["fix"]
    assert done.stderr == "" and "wrong\n" not in done.stdout


def test_who_sees_the_configuration_and_the_time(guarded: tuple[Deployment, RightsKafka]) -> None:
    shop, _ = guarded
    found = examined(shop, "--stage", "all", by=ADMIN, code=0)
    assert states(found["topics"]) == ["ok"] and states(found["clock"]) == ["ok"] and "everything is allowed" in found["rights"][0][1]
