"""With --json a command prints JSON alone: one document, or one object a line for what comes one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from docs.generator.commands import commands
from streams.access.rights import rights_of
from streams.broker.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.settings import Settings
from streams.sources.loading import load_mappings
from streams.topics import TOPICS

PRINTS_A_TABLE = {
    *("access check", "access show", "audit k", "audit show", "audit verify", "doctor", "features check", "keys list", "metrics"),
    *("models list", "recover", "settings", "sources check", "sources list", "topics check", "watch"),
}


def test_every_command_that_prints_a_table_has_the_option() -> None:
    have = {
        " ".join(path[1:])
        for path, command in commands()
        if any(isinstance(part, click.Option) and "--json" in part.opts for part in command.params)
    }
    assert have == PRINTS_A_TABLE


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def folder(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """With keys; topics are made."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(tmp_path / "keys"))
    assert run(["keys", "generate"]) == run(["topics", "create"]) == 0
    capsys.readouterr()
    return tmp_path


def document(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run([*words, "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_topics(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "topics", "check")
    assert [one["topic"] for one in found] == [spec.name for spec in TOPICS] and {one["problem"] for one in found} == {None}
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", "other.")
    found = document(capsys, "topics", "check", code=1)
    assert found[0] == {"topic": f"other.{TOPICS[0].name}", "partitions": None, "problem": "missing; run `veilstream topics create`"}


def test_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "keys" / "recovery.pub").write_text("rubbish")
    found = {one["file"]: one for one in document(capsys, "keys", "list")}
    assert found["pseudonym.key"] == {
        "file": "pseudonym.key", "id": "k1", "old": False, "use": "ingest makes pseudonyms with it", "problem": None,
    }  # fmt: skip
    assert found["recovery.pub"]["id"] is None and "is not a key file" in found["recovery.pub"]["problem"]


def test_sources(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "sources", "list")
    known = load_mappings(None)
    assert {(one["kind"], one["name"]) for one in found} == {
        *(("events", name) for name in known.events),
        *(("items", name) for name in known.items),
    }
    view = {"event_name": "view_item", "event_timestamp": 1_700_000_000_000_000, "user_pseudo_id": "1.2", "items": [{"item_id": "A"}]}
    (folder / "ga4.json").write_text("\n".join(map(json.dumps, [view, view | {"event_name": "page_view"}])))
    told = document(capsys, "sources", "check", str(folder / "ga4.json"), "--source", "ga4-bigquery")
    assert told["source"] == "ga4-bigquery" and told["taken"] == {"view": 1} and len(told["shown"]) == 2
    assert (told["records"], told["skipped"]) == (2, 1)
    columns = ["id", "title", "description", "link", "image_link", "price", "availability"]
    values = ["A", "Red shoe", "x", "x", "x", "5 EUR", "in_stock"]
    (folder / "items.tsv").write_text("\t".join(columns) + "\n" + "\t".join(values) + "\n")
    told = document(capsys, "sources", "check", str(folder / "items.tsv"), "--source", "google-merchant-tsv")
    assert (told["items"], told["taken"], told["refused"]) == (1, 1, [])


def test_access(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "access", "show", "--stage", "profile")
    assert json.dumps(found).count("behaviour.clean") >= 1
    told = document(capsys, "access", "check", "--stage", "profile")
    assert (told["role"], told["missing"], told["too_many"]) == ("profile", [], [])
    assert told["needed"] == len(rights_of("profile", Settings())) == len(told["not_seen"])
