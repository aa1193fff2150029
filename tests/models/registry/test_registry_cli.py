"""``veilstream models`` on the embedded broker: from a folder to what every worker reads, and back."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from nacl.signing import SigningKey

from encoders import load_encoder
from streams.broker.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.errors import TransientError
from streams.models.registry.announcement import Announcement, announce, sign_announcement
from streams.models.registry.channels import Channels, current_channels
from streams.models.registry.fetching import fetch_announced
from streams.models.registry.store import ModelStore
from streams.privacy.keys import load_model_signing_key, load_model_verify_key
from streams.serde import local_codecs
from streams.settings import load_kafka_settings, load_settings
from streams.topics import MODELS, PRIVACY_AUDIT
from tests.support.deployment import read_topic
from tests.support.model_folders import manifest_of, write_folder, write_tiny_bert

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


class Registry:
    """A store with three versions, v1 the parent of v2 and v2 of v3, and the topic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = folder / "keys"
        self.store = ModelStore(str(folder / "store"))
        key = load_model_signing_key(self.keys / "models.key")
        for number, parent in ((1, None), (2, "v1"), (3, "v2")):
            source = write_folder(folder / f"source{number}", weights=bytes([number]))
            metrics = {"hr@10": 0.4 + number / 100, "ndcg@10": 0.08} if parent else {}
            manifest = manifest_of(source, f"v{number}", parent=parent, created_at=1_700_000_000_000 + number, metrics=metrics)
            self.store.publish(source, manifest, key)

    def channels(self) -> Channels:
        key = load_model_verify_key(self.keys / "models.pub")
        return asyncio.run(current_channels(load_settings(), load_kafka_settings(), key))

    def current(self, channel: Any) -> Announcement | None:
        return self.channels().current(channel)

    def links(self) -> list[dict[str, Any]]:
        name = load_settings().topic_prefix + PRIVACY_AUDIT
        records = asyncio.run(read_topic(load_kafka_settings().bootstrap_servers, name))
        return [local_codecs().for_topic(PRIVACY_AUDIT).decode(record.value) for record in records]

    def write(self, key: bytes, value: bytes | None) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=load_kafka_settings().bootstrap_servers)
            await producer.start()
            await producer.send_and_wait(load_settings().topic_prefix + MODELS, value=value, key=key)
            await producer.stop()

        asyncio.run(send())


@pytest.fixture
def registry(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Registry:
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("VEILSTREAM_IDEMPOTENT_PRODUCER", "false")
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", f"t{uuid.uuid4().hex[:8]}.")
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("VEILSTREAM_MODELS", str(tmp_path / "store"))
    assert run(["topics", "create"]) == 0
    assert run(["keys", "generate", "--only", "models"]) == 0
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines() if "wrote" in line] == ["models.key", "models.pub"]
    return Registry(tmp_path)


def test_list_shows_versions_newest_first_and_who_serves_them(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "promote", "v2"]) == 0
    assert run(["models", "promote", "v3", "--canary", "0.05"]) == 0
    capsys.readouterr()
    assert run(["models", "list"]) == 0
    captured = capsys.readouterr()
    header, _, *rows = captured.out.splitlines()
    assert header.split() == ["version", "parent", "created", "(UTC)", "HR@10", "NDCG@10", "pairs", "serves"]
    assert [row.split() for row in rows] == [
        ["v3", "v2", "2023-11-14", "22:13", "0.4300", "0.0800", "1234", "canary", "5%"],
        ["v2", "v1", "2023-11-14", "22:13", "0.4200", "0.0800", "1234", "stable"],
        ["v1", "-", "2023-11-14", "22:13", "-", "-", "1234", "-"],
    ]
    assert captured.err == ""
    assert run(["models", "list", "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(found["version"], found["channels"]) for found in objects] == [("v3", ["canary"]), ("v2", ["stable"]), ("v1", [])]


def test_old_versions_expire_by_command(registry: Registry, capsys: Capture) -> None:
    assert run(["keys", "generate", "--only", "operators"]) == 0
    assert run(["models", "expire", "--keep", "1", "--days", "1"]) == 0
    assert "nothing has expired" in capsys.readouterr().out, "nothing is served: it may be another shop's topic"
    assert run(["models", "promote", "v3"]) == 0
    capsys.readouterr()
    assert run(["models", "expire", "--keep", "1", "--days", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would remove v1\n" and registry.store.list_versions() == ["v1", "v2", "v3"]
    assert run(["models", "expire", "--keep", "1", "--days", "1"]) == 0
    assert capsys.readouterr().out == "removed v1\n" and registry.store.list_versions() == ["v2", "v3"]
    assert [link["subject"] for link in registry.links() if link["action"] == "expired"] == ["v1"]
    assert run(["models", "expire"]) == 0
    assert capsys.readouterr().out == "nothing has expired\n"


def test_list_without_a_broker_says_so(registry: Registry, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert run(["models", "list"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[2].endswith("?")
    assert "cannot tell which versions the channels serve: no usable broker at 127.0.0.1:1" in captured.err
    monkeypatch.setenv("VEILSTREAM_MODELS", str(registry.folder / "empty"))
    assert run(["models", "list"]) == 0
    assert "no model versions in" in capsys.readouterr().err


def test_list_names_what_can_not_be_trusted(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "promote", "v2"]) == 0
    shutil.rmtree(registry.folder / "store" / "v2")
    (registry.folder / "store" / "v1" / "manifest.sig").write_bytes(b"x" * 64)
    registry.write(b"stable", None)
    capsys.readouterr()
    assert run(["models", "list"]) == 1
    captured = capsys.readouterr()
    assert "v1: model refused (signature)" in captured.err and "v1" not in captured.out.split()
    assert "stable serves v2 from" in captured.err and "which is not a version in this store" in captured.err
    assert "announcements that every worker refuses: 1 empty" in captured.err


def test_show_verifies_every_byte(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "show", "v2"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parent"] == "v1" and shown["serving"]["half_life_days"] == 90.0 and shown["location"].endswith("/store/v2")
    (registry.folder / "store" / "v2" / "vocab.txt").write_text("spoilt")
    for arguments in (["show", "v2"], ["promote", "v2"]):
        assert run(["models", *arguments]) == 1
        assert "error: model refused (hash): vocab.txt of v2 differs from the signed file" in capsys.readouterr().err
    assert registry.current("stable") is None
    assert run(["models", "show", "v9"]) == 1
    assert "there is no model version v9" in capsys.readouterr().err


def test_promote_is_what_a_worker_fetches(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "promote", "v1", "--reason", "the first"]) == 0
    assert capsys.readouterr().out == "stable serves v1\n"
    announcement = registry.current("stable")
    assert announcement is not None and announcement.reason == "the first"
    key = load_model_verify_key(registry.keys / "models.pub")
    folder, manifest = fetch_announced(announcement, registry.folder / "cache", key)
    assert folder.name == "v1" and manifest == registry.store.read_manifest("v1")


@pytest.mark.slow
def test_a_canary_that_is_promoted_ends(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "promote", "v1"]) == 0
    assert run(["models", "promote", "v2", "--canary", "0.1"]) == 0
    canary = registry.current("canary")
    assert canary is not None and canary.canary_share == 0.1
    capsys.readouterr()
    assert run(["models", "promote", "v2"]) == 0
    assert capsys.readouterr().out == "stable serves v2, after v1\ncanary serves nothing, after v2\n"
    channels = registry.channels()
    assert channels.serving("v2") == ["stable"] and channels.current("canary") is None
    for share in ("0", "1.1", "x", "nan"):
        assert run(["models", "promote", "v2", "--canary", share]) == 2


@pytest.mark.slow
def test_rollback_goes_to_the_parent_or_where_it_is_told(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "rollback"]) == 1
    assert "no version was promoted yet" in capsys.readouterr().err
    assert run(["models", "promote", "v3"]) == 0
    assert run(["models", "rollback", "--reason", "worse"]) == 0
    stable = registry.current("stable")
    assert stable is not None and (stable.model_version, stable.reason) == ("v2", "worse")
    assert run(["models", "rollback"]) == 0
    capsys.readouterr()
    assert run(["models", "rollback"]) == 1
    assert "v1, which stable serves, has no parent; name a version with --to" in capsys.readouterr().err
    assert run(["models", "rollback", "--to", "v3"]) == 0
    assert registry.channels().serving("v3") == ["stable"]


@pytest.mark.slow
def test_rollback_withdraws_a_canary(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "rollback", "--canary"]) == 1
    assert "no canary is served" in capsys.readouterr().err
    assert run(["models", "rollback", "--canary", "--to", "v1"]) == 2
    assert run(["models", "promote", "v1"]) == 0
    assert run(["models", "promote", "v2", "--canary", "0.1"]) == 0
    assert run(["models", "rollback", "--canary"]) == 0
    channels = registry.channels()
    assert channels.current("canary") is None and channels.serving("v1") == ["stable"]


def test_announcements_by_another_key_change_nothing(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "promote", "v1"]) == 0
    forged = announce(registry.store.read_manifest("v2"), registry.store.location("v2"), "stable", announced_at=2**45, counter=2**45)
    registry.write(b"stable", local_codecs().for_topic(MODELS).encode(sign_announcement(forged, SigningKey.generate())))
    assert registry.channels().serving("v1") == ["stable"]
    capsys.readouterr()
    assert run(["models", "list"]) == 0
    assert "announcements that every worker refuses: 1 signature" in capsys.readouterr().err


def test_keys_that_do_not_fit_are_named(registry: Registry, capsys: Capture) -> None:
    (registry.keys / "models.key").rename(registry.folder / "kept.key")
    assert run(["models", "promote", "v1"]) == 1
    assert "models.key is missing; add it with `veilstream keys generate --only models`" in capsys.readouterr().err
    assert run(["keys", "generate", "--only", "models", "--dir", str(registry.folder / "others")]) == 0
    shutil.copy(registry.folder / "others" / "models.key", registry.keys / "models.key")
    assert run(["models", "promote", "v1"]) == 1
    assert "do not belong together" in capsys.readouterr().err


def test_add_makes_a_version_of_a_folder(registry: Registry, capsys: Capture) -> None:
    source = write_tiny_bert(registry.folder / "tiny")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    encoder = load_encoder(str(source), precision="fp32")
    capsys.readouterr()
    assert run(["models", "add", str(source), "--parent", "v1"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"added {encoder.version} in {registry.folder / 'store'}\n"
    assert captured.err == "left out pytorch_model.bin\n"
    manifest = registry.store.verify(encoder.version, load_model_verify_key(registry.keys / "models.pub"))
    assert (manifest.dimension, manifest.parent, manifest.base) == (16, "v1", "tiny")
    assert manifest.serving.half_life_days == load_settings().half_life_days
    stored = load_encoder(str(registry.folder / "store" / encoder.version), precision="fp32")
    assert stored.version == encoder.version, "the version is of what a worker loads"
    assert run(["models", "add", str(source)]) == 0
    assert capsys.readouterr().out.startswith("already there: ")
    assert run(["models", "add", str(source), "--parent", "v9"]) == 1
    assert run(["models", "add", str(registry.folder / "nothing")]) == 1
    assert "there is no model folder" in capsys.readouterr().err
    for used in (encoder, stored):
        used.close()


@pytest.mark.slow
def test_what_others_write_into_the_topic_is_named_and_overruled(
    registry: Registry, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old record and a removal, which after compaction are all that the topic holds of the channel."""
    assert run(["models", "promote", "v1"]) == 0
    first = registry.current("stable")
    assert run(["models", "promote", "v2"]) == 0
    codec, key = local_codecs().for_topic(MODELS), load_model_signing_key(registry.keys / "models.key")
    assert first is not None and first.counter == 1
    registry.write(b"stable", codec.encode(sign_announcement(first, key)))
    registry.write(b"stable", None)
    assert registry.channels().serving("v2") == ["stable"]
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", f"t{uuid.uuid4().hex[:8]}.")
    assert run(["topics", "create"]) == 0
    registry.write(b"stable", codec.encode(sign_announcement(first, key)))
    assert registry.channels().serving("v2") == ["stable"], "the store's head is newer"
    capsys.readouterr()
    assert run(["models", "list"]) == 0
    assert "the topic lacks announcement 2 of stable (v2), which the store's head has" in capsys.readouterr().err
    assert run(["models", "rollback"]) == 0
    stable = registry.current("stable")
    assert stable is not None and (stable.model_version, stable.counter) == ("v1", 3)
    assert registry.channels().missing == []


@pytest.mark.slow
def test_the_counter_goes_on_where_topic_and_store_were_lost(registry: Registry, capsys: Capture) -> None:
    assert run(["models", "promote", "v1", "--after", "41"]) == 0
    stable = registry.current("stable")
    assert stable is not None and stable.counter == 42
    assert run(["models", "promote", "v2"]) == 0
    stable = registry.current("stable")
    assert stable is not None and stable.counter == 43


def test_a_head_that_can_not_be_read_is_an_error_before_anything_is_announced(registry: Registry, capsys: Capture) -> None:
    (registry.folder / "store" / "announced.json").mkdir()
    assert run(["models", "promote", "v1"]) == 1
    assert "error: the model store" in capsys.readouterr().err
    (registry.folder / "store" / "announced.json").rmdir()
    assert registry.current("stable") is None


def test_a_head_that_can_not_be_written_is_an_error_that_says_what_it_means(
    registry: Registry, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: ModelStore, data: bytes) -> None:
        raise TransientError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(ModelStore, "write_head", full)
        assert run(["models", "promote", "v1"]) == 1
    assert "a new worker can be shown an older model (the disk is full); then announce it again" in capsys.readouterr().err
    assert run(["models", "promote", "v1"]) == 0
    stable = registry.current("stable")
    assert stable is not None and stable.counter == 2


@pytest.mark.slow
def test_the_audit_has_every_announcement_before_it_is_made(registry: Registry, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["keys", "generate", "--only", "operators"]) == 0
    assert run(["models", "promote", "v2", "--reason", "asked for by alice@example.org"]) == 0
    assert run(["models", "promote", "v3", "--canary", "0.05"]) == 0
    assert run(["models", "rollback", "--canary"]) == 0
    assert run(["models", "rollback"]) == 0
    told = [(link["action"], link["subject"], link["details"]) for link in registry.links() if link["subject"] is not None]
    assert [(action, subject) for action, subject, _ in told] == [
        *(("promoted", "v2"), ("promoted", "v3"), ("withdrawn", "v3"), ("rolled_back", "v1"))
    ]
    assert told[0][2] == {"channel": "stable", "counter": "1", "parent": "v1", "reason": "asked for by <email>"}
    assert told[1][2]["canary_share"] == "0.05" and told[1][2]["channel"] == "canary"
    assert run(["audit", "verify"]) == 0
    assert "12 links in 4 chains" in capsys.readouterr().out

    async def refuse(*_: Any, **__: Any) -> None:
        raise TransientError("the broker did not acknowledge the record")

    monkeypatch.setattr("streams.audit.topic.write_record", refuse)
    before = len(registry.channels().head.records())
    assert run(["models", "promote", "v3"]) == 1
    assert registry.current("stable") is not None and registry.channels().serving("v3") == []
    assert len(registry.channels().head.records()) == before, "what the audit cannot have is not announced"
