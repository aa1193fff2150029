"""The commands against a broker: files in, lines out, dead letters mended and back."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from nacl.public import PrivateKey

from streams import topics
from streams.broker.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.errors import ConfigurationError, Reason, RecordError
from streams.kafka.clients import reader
from streams.privacy.keys import STAGES, load_public_key, load_stage_signing_key
from streams.privacy.seal import Sealer
from streams.serde import local_codecs
from streams.serde.codec import Headers
from streams.settings import KafkaSettings, load_kafka_settings, load_settings
from streams.wiring.stages import Bootstrap
from tests.support.http_registry import Server, serving

CODECS = local_codecs()
Records = Sequence["ConsumerRecord[bytes | None, bytes | None]"]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


class Shop:
    """Topics under a prefix of their own, and keys."""

    def __init__(self, broker: EmbeddedBroker, prefix: str, folder: Path) -> None:
        self.kafka = KafkaSettings.model_validate({"bootstrap_servers": broker.bootstrap_servers})
        self.prefix = prefix
        self.folder = folder

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)

    def records(self, topic: str) -> Records:
        async def read() -> Records:
            async with reader(self.kafka, self.prefix + topic) as consumer:
                return await _all(consumer)

        return asyncio.run(read())

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [CODECS.for_topic(topic).decode(record.value, record.headers) for record in self.records(topic)]

    def publish(self, topic: str, *records: tuple[bytes | None, bytes | None], headers: Headers = ()) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers)
            await producer.start()
            for key, value in records:
                await producer.send_and_wait(self.prefix + topic, value=value, key=key, headers=list(headers))
            await producer.stop()

        asyncio.run(send())

    def refuse(self, reason: Reason, *, sealed_to: PrivateKey | None = None) -> None:
        """Dead-letter everything on behaviour.raw."""
        public = sealed_to.public_key if sealed_to else load_public_key(self.folder / "keys" / "recovery.pub", "recovery")
        key = load_stage_signing_key(self.folder / "keys" / "ingest.key", "ingest")
        codec = CODECS.for_topic(topics.DEAD_LETTER)
        builder = DeadLetterBuilder(codec, Sealer(public), "ingest", FixedClock(1), 10_000, signing_key=key)
        for record in self.records(topics.BEHAVIOUR_RAW):
            letter = builder.build(record, RecordError(reason, "mend it"), fields=["user_id"])
            self.publish(topics.DEAD_LETTER, (letter.key, letter.value), headers=letter.headers)

    def forge(self, topic: str, value: bytes) -> None:
        """What anybody can do who may write to the dead letters and has the recovery key's public half."""
        sealer = Sealer(load_public_key(self.folder / "keys" / "recovery.pub", "recovery"))
        letter = CODECS.for_topic(topics.DEAD_LETTER).encode(
            {
                "dead_letter_id": "0" * 32,
                "reason": "bad_item",
                "stage": "catalogue" if topic == topics.CATALOGUE_ITEMS else "ingest",
                "source_topic": self.prefix + topic,
                "source_partition": 0,
                "source_offset": 1,
                "source_timestamp": 1,
                "sealed_original": sealer.seal(msgspec.msgpack.encode((b"ceo@shop.example", value, []))),
                "rejected_at": 1,
            }
        )
        self.publish(topics.DEAD_LETTER, (b"k", letter))


async def _all(consumer: AIOKafkaConsumer) -> Records:
    partitions = list(consumer.assignment())
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    found: list[ConsumerRecord[bytes | None, bytes | None]] = []
    while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found += records
    return found


@pytest.fixture
def shop(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)
    prefix = f"t{uuid.uuid4().hex[:8]}."
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("VEILSTREAM_IDEMPOTENT_PRODUCER", "false")
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(tmp_path / "keys"))
    assert run(["topics", "create"]) == 0
    assert run(["keys", "generate"]) == 0
    capsys.readouterr()
    return Shop(broker, prefix, tmp_path)


ERASURE = {"user_id": "ceo@shop.example", "request_id": "r1", "requested_at": 1, "scope": "all"}
EVENTS = "ts,user,event_type,item\n2024-01-01,u1,view,i1\nbroken\n2024-01-02,u1,Dance,i2\n2024-01-03, u1,view,i3\n"


@pytest.fixture
def schema_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as server:
        monkeypatch.setenv("VEILSTREAM_REGISTRY_URL", server.url)
        yield server


def test_stages_and_tools_name_subjects_alike(shop: Shop, schema_registry: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """By the topic's full name: two deployments on one broker may have one registry."""
    assert run(["replay", "--events", shop.file("e.csv", EVENTS), "--items", shop.file("i.csv", "item,title\ni1,Thing\n")]) == 0
    assert run(["watch", topics.BEHAVIOUR_RAW, "--raw-identities", "--from-beginning", "--max", "1", "--json"]) == 0
    assert '"user_id": "u1"' in capsys.readouterr().out
    assert run(["recover"]) == 0
    by_tools = dict(schema_registry.subjects)
    assert set(by_tools) == {f"{shop.prefix}{name}-value" for name in (topics.BEHAVIOUR_RAW, topics.CATALOGUE_ITEMS, topics.DEAD_LETTER)}
    codecs = Bootstrap(load_settings(), load_kafka_settings()).codecs
    for name in topics.BY_NAME:
        codecs.for_topic(name)
    assert by_tools.items() <= schema_registry.subjects.items(), "what the tools registered is what the stages look up"
    assert set(schema_registry.subjects) == {f"{shop.prefix}{name}-value" for name in topics.BY_NAME}


def test_topics_check(shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["topics", "check"]) == 0
    assert f"ok  {shop.prefix}models" in capsys.readouterr().out
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", "none.")
    assert run(["topics", "check"]) == 1
    assert "run `veilstream topics create`" in capsys.readouterr().out


def test_replay_publishes_what_can_be_read_in_order(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    items = shop.file("items.csv", "item,title,price_median\ni1,Lamp,2.5\ni2,灯,3\n")
    assert run(["replay", "--items", items, "--events", shop.file("events.csv", EVENTS)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "published 2 items and 3 events\n"
    assert "left out 1 row: fewer fields than columns (first: events.csv line 3)" in captured.err
    assert {item["item_id"]: (item["title"], item["price"]) for item in shop.values(topics.CATALOGUE_ITEMS)} == {
        "i1": ("Lamp", 2.5),
        "i2": ("灯", 3.0),
    }
    events = shop.values(topics.BEHAVIOUR_RAW)
    assert [event["item_id"] for event in events] == ["i1", "i2", "i3"], "one user's events lie in one partition, in order"
    assert {record.key for record in shop.records(topics.BEHAVIOUR_RAW)} == {b"u1"}
    assert run(["replay", "--events", shop.file("again.csv", EVENTS)]) == 0
    assert {event["event_id"] for event in shop.values(topics.BEHAVIOUR_RAW)} == {event["event_id"] for event in events}


def test_replay_keeps_its_rate(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    path = shop.file("events.csv", "ts,user,event_type,item\n" + "1,u,view,i\n" * 20)
    start = time.monotonic()
    assert run(["replay", "--events", path, "--rate", "20"]) == 0
    assert time.monotonic() - start > 0.9
    assert len(shop.records(topics.BEHAVIOUR_RAW)) == 20


def test_replay_goes_on_after_a_row_too_large(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    path = shop.file("items.csv", f"item,title\n1,a\n2,{'x' * 1_048_500}\n3,c\n")
    assert run(["replay", "--items", path]) == 0
    captured = capsys.readouterr()
    assert "published 2 items" in captured.out and "larger than the broker takes" in captured.err


def test_replay_says_what_is_missing(shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.file("events.csv", EVENTS)
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", "none.")
    assert run(["replay", "--events", path]) == 1
    assert "topic none.behaviour.raw is missing; run `veilstream topics create`" in capsys.readouterr().err
    assert run(["replay", "--events", shop.file("no.csv", "a,b\n")]) == 1


def test_watch_shows_records_as_lines(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    value = CODECS.for_topic(topics.CATALOGUE_ITEMS).encode({"item_id": "i", "title": "\x1b[2Jtitle"})
    shop.publish(topics.CATALOGUE_ITEMS, (b"i", value), (b"i", None), (b"i", b"nonsense"))
    assert run(["watch", "catalogue.items", "--from-beginning", "--max", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'item_id="i"' in lines[0] and "\x1b" not in lines[0]
    assert lines[1].endswith(" removed") and "bad_framing" in lines[2]
    assert run(["watch", "catalogue.items", "--from-beginning", "--max", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"]["item_id"] == "i"


@pytest.mark.parametrize("topic", [spec.name for spec in topics.TOPICS if spec.raw_identity])
def test_watch_refuses_topics_that_name_people(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", topic]) == 2
    assert "--raw-identities" in capsys.readouterr().err


def test_recover_lists_without_telling_anything(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    run(["replay", "--events", shop.file("events.csv", EVENTS.replace("u1", "alice@example.org"))])
    shop.refuse(Reason.UNKNOWN_EVENT_TYPE)
    shop.publish(topics.DEAD_LETTER, (b"k", b"nonsense"))
    capsys.readouterr()
    (shop.folder / "keys" / "recovery.key").rename(shop.folder / "elsewhere.key")
    assert run(["recover"]) == 0, "listing needs no key"
    captured = capsys.readouterr()
    assert captured.out.count("unknown_event_type: mend it [user_id]") == 3 and captured.out.endswith("3 listed\n")
    assert "alice" not in captured.out + captured.err and "not a dead letter" in captured.err
    assert run(["recover", "--reason", "bad_price"]) == 0
    assert capsys.readouterr().out == "0 listed\n"
    assert run(["recover", "--max", "2"]) == 0
    assert capsys.readouterr().out.endswith("2 listed\n")
    assert run(["recover", "--show"]) == 1
    assert "recovery.key is missing" in capsys.readouterr().err
    assert run(["recover", "--show", "--key", str(shop.folder / "elsewhere.key")]) == 0
    assert "alice@example.org" in capsys.readouterr().out
    assert len(shop.records(topics.BEHAVIOUR_RAW)) == 3, "nothing was published"


def test_recover_replays_mended_originals_with_the_same_id_each_time(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    codec = CODECS.for_topic(topics.BEHAVIOUR_RAW)
    shop.publish(topics.BEHAVIOUR_RAW, (b"u", codec.encode({"user_id": "u", "event_type": "Dance", "item_id": "i"})))
    shop.refuse(Reason.UNKNOWN_EVENT_TYPE)
    capsys.readouterr()
    for _ in range(2):
        assert run(["recover", "--replay", "--reason", "unknown_event_type", "--set", "event_type=view", "--edit", "quantity=2"]) == 0
        assert capsys.readouterr().out.endswith("1 listed, 1 replayed\n")
    original, *mended = shop.values(topics.BEHAVIOUR_RAW)
    assert original["event_type"] == "Dance"
    assert [(event["user_id"], event["event_type"], event["quantity"]) for event in mended] == [("u", "view", 2.0)] * 2
    assert len({event["event_id"] for event in mended}) == 1 and mended[0]["event_id"]
    assert isinstance(mended[0]["occurred_at"], int), "the time of its first arrival"


@pytest.mark.slow
def test_recover_replays_nothing_that_somebody_forged(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.forge(topics.PRIVACY_ERASURE, CODECS.for_topic(topics.PRIVACY_ERASURE).encode(ERASURE))
    shop.forge(topics.BEHAVIOUR_RAW, CODECS.for_topic(topics.BEHAVIOUR_RAW).encode({"user_id": "u", "event_type": "view", "item_id": "i"}))
    shop.forge(topics.CATALOGUE_ITEMS, CODECS.for_topic(topics.CATALOGUE_ITEMS).encode({"item_id": "i", "title": "forged"}))
    assert run(["recover", "--replay"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("(not signed)") == 3 and captured.out.endswith("3 listed, 3 not replayed\n")
    assert captured.err.count("not replayed: it is not signed: from before letters were signed, or forged (--accept-unsigned)") == 2
    written = (topics.PRIVACY_ERASURE, topics.BEHAVIOUR_RAW, topics.CATALOGUE_ITEMS)
    assert [shop.records(topic) for topic in written] == [[], [], []]
    assert run(["recover", "--replay", "--accept-unsigned"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: letters without a signature are replayed too. Whoever may write")
    assert captured.out.endswith("3 listed, 2 replayed unsigned, 1 not replayed\n")
    assert [len(shop.records(topic)) for topic in written] == [0, 1, 1], "whatever is accepted, nobody is erased"


def test_recover_replays_no_letter_that_was_changed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    codec, letters = CODECS.for_topic(topics.BEHAVIOUR_RAW), CODECS.for_topic(topics.DEAD_LETTER)
    shop.publish(topics.BEHAVIOUR_RAW, (b"u", codec.encode({"user_id": "u", "event_type": "Dance", "item_id": "i"})))
    shop.refuse(Reason.UNKNOWN_EVENT_TYPE)
    (record,) = shop.records(topics.DEAD_LETTER)
    moved = letters.encode({**letters.decode(record.value), "source_topic": shop.prefix + topics.CATALOGUE_ITEMS})
    again = letters.encode({**letters.decode(record.value), "dead_letter_id": "0" * 32})
    shop.publish(topics.DEAD_LETTER, (b"k", moved), (b"k", again), headers=record.headers)
    assert run(["recover", "--replay", "--accept-unsigned", "--set", "event_type=view"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("3 listed, 1 replayed, 2 not replayed\n") and captured.out.count("(FORGED: ") == 2
    assert len(shop.records(topics.BEHAVIOUR_RAW)) == 2 and shop.records(topics.CATALOGUE_ITEMS) == []


def test_recover_without_the_stages_public_key(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    run(["replay", "--events", shop.file("events.csv", EVENTS)])
    shop.refuse(Reason.BAD_ITEM)
    (shop.folder / "keys" / "ingest.pub").unlink()
    capsys.readouterr()
    assert run(["recover", "--replay", "--accept-unsigned"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("ingest.pub is needed in VEILSTREAM_KEYS_DIR") == 3
    assert captured.out.endswith("3 listed, 3 not replayed\n") and captured.out.count("(not verified: ") == 3


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_its_key_names_the_command(shop: Shop, stage: str) -> None:
    (shop.folder / "keys" / f"{stage}.key").unlink()
    bootstrap = Bootstrap(load_settings(), load_kafka_settings())
    with pytest.raises(ConfigurationError, match=rf"{stage}\.key is missing; add it with `veilstream keys generate --only {stage}`"):
        bootstrap.parts(stage)


def test_recover_goes_on_after_what_can_not_be_mended(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    codec = CODECS.for_topic(topics.BEHAVIOUR_RAW)
    shop.publish(topics.BEHAVIOUR_RAW, (b"u", b"nonsense"), (b"u", codec.encode({"user_id": "u", "event_type": "view", "item_id": "i"})))
    shop.refuse(Reason.BAD_FRAMING)
    assert run(["recover", "--replay"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("2 listed, 1 replayed, 1 not replayed\n") and "can't be repaired" in captured.err


def test_recover_with_another_key(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    run(["replay", "--events", shop.file("events.csv", EVENTS)])
    shop.refuse(Reason.BAD_ITEM, sealed_to=PrivateKey.generate())
    assert run(["recover", "--replay"]) == 1
    assert "give the key of that time with --key" in capsys.readouterr().err
