"""The examples of docs/clients.md against Apache Kafka: what each publishes is taken, and each can tell whom a recommendation is for."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from nacl.signing import SigningKey

from streams.privacy.keys import load_public_key
from streams.privacy.padding import padded
from streams.privacy.seal import IdSealer, Sealer
from streams.serde import local_codecs, open_codecs
from streams.settings import Settings
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, DEAD_LETTER, RECOMMENDATIONS
from tests.support import ROOT
from tests.support.apache_kafka import ApacheKafka
from tests.support.apicurio import Apicurio
from tests.support.deployment import Deployment, deployed
from tests.support.maven import JavaMissing
from tests.support.toolchains import EXAMPLES, ToolMissing, java_libraries, node_modules, python
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

RAW_SCHEMA = str(ROOT / "schemas" / "avro" / "behaviour.raw.avsc")
RECOMMENDATIONS_SCHEMA = str(ROOT / "schemas" / "avro" / "recommendations.avsc")
ITEMS = "item,title\n" + "".join(f"{name},{name} for camping\n" for name in ("tent", "stove", "lamp", "sleeping bag", "mattress"))
USERS = {"python": "ann-python", "node": "bob-节点", "java": "eve-java", "kcat": "kim-kcat"}


@pytest.fixture(scope="module")
def shop(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A Veilstream with items, whose shoppers' every event leads to a recommendation."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "items.csv").write_text(ITEMS)
    settings = {"VEILSTREAM_MODEL": "hashing", "VEILSTREAM_THRESHOLD": "-1"}
    with deployed(folder / "d", kafka.bootstrap_servers, f"t{uuid.uuid4().hex[:8]}.", **settings) as prepared:
        prepared.start("ingest", "catalogue", "profile")
        prepared.command("replay", "--items", str(folder / "items.csv"))
        prepared.drain("catalogue")
        yield prepared


@pytest.fixture(scope="module")
def commands() -> dict[str, Callable[[str], list[str]]]:
    """How an example (``produce``, ``consume``) is started, by language; only where its tools are here."""
    found: dict[str, Callable[[str], list[str]]] = {}
    interpreter = str(needed(python))
    found["python"] = lambda name: [interpreter, str(EXAMPLES / "python" / f"{name}.py")]
    modules = needed(node_modules)
    for path in (EXAMPLES / "node").glob("*.mjs"):
        shutil.copy(path, modules)  # an import looks for its packages beside the file
    found["node"] = lambda name: ["node", str(modules / f"{name}.mjs")]
    jars = f"{needed(java_libraries)}/*"
    java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars]
    found["java"] = lambda name: [*java, str(EXAMPLES / "java" / f"{name.capitalize()}.java")]
    if shutil.which("kcat") is not None:
        found["kcat"] = lambda name: [str(EXAMPLES / "kcat" / f"{name}.sh")]
    return found


def needed(install: Callable[[], Path]) -> Path:
    try:
        return install()
    except (JavaMissing, ToolMissing) as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def published(shop: Deployment, commands: dict[str, Callable[[str], list[str]]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The languages whose producer has run."""
    cart = {"user_id": USERS["kcat"], "event_type": "cart", "item_id": "tent", "event_id": "framed", "quantity": 1.0}
    framed = tmp_path_factory.mktemp("framed") / "event.avro"
    framed.write_bytes(local_codecs().for_topic(BEHAVIOUR_RAW).encode(cart))
    for language, command in commands.items():
        last = str(framed) if language == "kcat" else RAW_SCHEMA
        finished([*command("produce"), shop.bootstrap_servers, shop.topic(BEHAVIOUR_RAW), USERS[language], last])
    shop.drain("ingest", "profile")
    return list(commands)


@pytest.fixture(scope="module")
def forged(shop: Deployment, published: list[str]) -> list[bytes]:
    """Recommendations that somebody else has written: with an id that the public key alone makes, with that of another shopper's record,
    and with a signature of one's own."""
    codec = local_codecs().for_topic(RECOMMENDATIONS)
    found = [codec.decode(record.value) for record in shop.read(RECOMMENDATIONS)]
    one = found[0]
    other = next(recommendation for recommendation in found if recommendation["pseudonym"] != one["pseudonym"])
    public = load_public_key(shop.folder / "keys" / "subscriber.pub", "subscriber")
    box = Sealer(public).seal(padded(b"victim", 64))
    stranger = IdSealer(public, SigningKey.generate()).seal("victim", one["pseudonym"])
    ids = [box, other["sealed_id"], stranger, b"\x01" + box + bytes(64), b""]
    values = [codec.encode({**one, "sealed_id": sealed, "recommendation_id": f"{number:032x}"}) for number, sealed in enumerate(ids)]

    async def publish() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=shop.bootstrap_servers)
        await producer.start()
        for value in values:
            await producer.send_and_wait(shop.topic(RECOMMENDATIONS), value, key=one["pseudonym"].encode())
        await producer.stop()

    asyncio.run(publish())
    return values


def finished(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_json_and_avro_of_every_language_are_taken(shop: Deployment, published: list[str]) -> None:
    clean = [local_codecs().for_topic(BEHAVIOUR_CLEAN).decode(record.value) for record in shop.read(BEHAVIOUR_CLEAN)]
    assert Counter(event["event_type"] for event in clean) == {"view": len(published), "cart": len(published)}
    assert len({event["pseudonym"] for event in clean}) == len(published) >= 3
    assert {event["item_id"] for event in clean} == {"tent"}
    assert shop.read(DEAD_LETTER) == []
    # By one partitioner: both events of a shopper are in one partition, whoever published them.
    partitions = {(record.key, record.partition) for record in shop.read(BEHAVIOUR_RAW)}
    assert len(partitions) == len(published)


@pytest.mark.parametrize("language", ["python", "node", "java"])
def test_a_subscriber_opens_the_sealed_ids_that_ingest_made(
    shop: Deployment,
    published: list[str],
    forged: list[bytes],
    commands: dict[str, Callable[[str], list[str]]],
    tmp_path: Path,
    language: str,
) -> None:
    keys = [str(shop.folder / "keys" / name) for name in ("subscriber.key", "ingest.pub")]
    arguments = [shop.bootstrap_servers, shop.topic(RECOMMENDATIONS), f"{shop.prefix}{language}", RECOMMENDATIONS_SCHEMA, *keys]
    output, errors = tmp_path / "output", tmp_path / "errors"
    expected = {USERS[name] for name in published}
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen([*commands[language]("consume"), *arguments], stdout=out, stderr=err)
        try:
            wait_until(
                lambda: (
                    (expected <= {line["user"] for line in lines(output)} and errors.read_text().count("left out ") == len(forged))
                    or process.poll() is not None
                ),
                lambda: f"{output.read_text()}\n{errors.read_text()[-3000:]}",
            )
        finally:
            process.kill()
            process.wait()
    found = lines(output)
    assert {line["user"] for line in found} == expected, errors.read_text()
    assert all(line["items"] and set(line["items"]) <= {"stove", "lamp", "sleeping bag", "mattress", "tent"} for line in found)


def lines(output: Path) -> list[dict[str, object]]:
    """The whole lines so far."""
    return [json.loads(line) for line in output.read_bytes().decode().split("\n")[:-1]]


def test_kcat_shows_pseudonyms(shop: Deployment, published: list[str]) -> None:
    if "kcat" not in published:
        pytest.skip("kcat is not on the PATH; it is Debian's package kcat")
    printed = finished([str(EXAMPLES / "kcat" / "consume.sh"), shop.bootstrap_servers, shop.topic(RECOMMENDATIONS)])
    pseudonyms = {line.split()[0] for line in printed.splitlines()}
    codec = local_codecs().for_topic(RECOMMENDATIONS)
    assert pseudonyms == {codec.decode(record.value)["pseudonym"] for record in shop.read(RECOMMENDATIONS)}


def test_a_serializer_with_a_registry(
    shop: Deployment, apicurio: Apicurio, commands: dict[str, Callable[[str], list[str]]], tmp_path: Path
) -> None:
    """What it writes is read by a Veilstream with the same registry; each had registered the schema itself."""
    settings = Settings(registry_url=apicurio.url, topic_prefix=shop.prefix, registry_cache=tmp_path)
    codec = open_codecs(settings).for_topic(BEHAVIOUR_RAW)
    topic = shop.topic(BEHAVIOUR_RAW)
    finished([*commands["python"]("produce_with_registry"), shop.bootstrap_servers, topic, "reg", RAW_SCHEMA, apicurio.url])
    (record,) = [record for record in shop.read(BEHAVIOUR_RAW) if record.key == b"reg"]
    assert codec.decode(record.value)["event_id"] == "reg-1"
