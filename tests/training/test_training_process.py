"""The process on a broker: a request becomes a canary and then stable; kills and a stop in between; a gate that says no."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import time

import pytest

from streams.cli.main import run
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore
from streams.privacy.keys import load_model_verify_key
from streams.settings import load_kafka_settings, load_settings
from streams.topics import FEEDBACK, MODELS, PRIVACY_AUDIT, PRIVACY_FORGOTTEN, TRAINING_CONTROL
from streams.training.catalogue_reader import read_items
from streams.training.store import Bounds, PairStore
from tests.support.deployment import read_topic
from tests.support.trainer_data import feedback, shop_items, shop_pairs
from tests.support.trainer_process import CODECS, Shop


@pytest.mark.slow
def test_two_processes_share_a_round(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_TRAINER_PROCESSES", "2")
    assert run(["trainer", "--request", "together"]) == 0
    shop.start()
    shop.wait("the round's end", lambda: "finished" in shop.states(), 120)
    (kept,) = (shop.folder / "trainer" / "rounds").iterdir()
    assert json.loads((kept / "finetuned.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_a_request_becomes_a_canary_and_then_stable_through_kills(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["trainer", "--request", "to see it learn"]) == 0
    shop.start()
    checkpoints = shop.folder / "trainer" / "round" / "checkpoints"
    shop.wait("a checkpoint", lambda: list(checkpoints.glob("step-????????")))
    shop.stop(signal.SIGKILL)
    assert list(checkpoints.glob("step-????????")), "killed in the middle"
    shop.start()
    shop.wait("a second checkpoint", lambda: len(list(checkpoints.glob("step-????????"))) > 1)
    assert shop.stop() < 8, "a clean stop does not wait for the round"
    shop.start()
    shop.wait("the end", lambda: "finished" in shop.states())
    assert shop.states() == ["requested", "started", "finished"], "one round, through a kill and a stop"
    ended = shop.read(TRAINING_CONTROL)[-1]
    assert ended["model_version"] and "gains" in ended["verdict"]

    (canary,) = shop.read(MODELS)
    assert (canary["channel"], canary["model_version"], canary["canary_share"]) == ("canary", ended["model_version"], 0.5)
    store = ModelStore(load_settings().models)
    manifest = store.verify(canary["model_version"], load_model_verify_key(load_settings().keys_dir / "models.pub"))
    assert {"hr@10", "ndcg@10"} <= set(manifest.metrics) and {"report.md", "report.png", "README.md"} <= set(manifest.files)
    assert manifest.parent in store.list_versions(), "the first model can be gone back to"
    kept = PairStore(shop.folder / "trainer", Bounds())
    assert len(kept) == len(shop_pairs()), "each pair once"
    kept.close()

    records = [
        feedback(f"r{n}-{version}", version, float(n % 10 < hits), 0, user=f"k1.{n // 3}")
        for n in range(300)
        for version, hits in ((manifest.parent, 2), (manifest.model_version, 7))
    ]
    time.sleep(0.1)
    shop.send(FEEDBACK, [("k1.u", record) for record in records])
    shop.wait("the promotion", lambda: {"stable"} & {record["channel"] for record in shop.read(MODELS)})
    shop.wait("the canary's end", lambda: shop.read(MODELS)[-1]["withdrawn"])
    assert shop.read(MODELS)[1]["model_version"] == manifest.model_version
    _forget_one_that_the_model_learnt_from(shop, manifest, monkeypatch)


def _forget_one_that_the_model_learnt_from(shop: Shop, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt names the version; and where the settings say so, the next round begins with one that did not know her."""
    assert shop.stop() < 8
    monkeypatch.setenv("VEILSTREAM_TRAINER_AFTER_ERASURE", "next-parent")
    shop.start()
    request = {"request_id": "t-one", "requested_at": 1, "received_at": 1, "item_id": None}
    shop.send(PRIVACY_FORGOTTEN, [(user, request | {"pseudonym": user}) for user in ("k1.u7", "k1.never-seen")])
    receipts = shop.wait("the receipts", lambda: len(found := _receipts(shop)) == 2 and found)
    known, unknown = receipts
    ages = shop.wait("the watch", lambda: (found := _open_erasures(shop)) is not None and found[0] == 2 and found)
    assert ages[1] > 1000, "only the trainer has receipted them here, and they were asked for in 1970"
    assert (known["models"], known["then"]) == (manifest.model_version, "next-parent") and "models" not in unknown
    assert run(["trainer", "--request", "without her"]) == 0
    shop.wait("the next round", lambda: shop.states().count("started") == 2)
    shop.wait("what it begins with", lambda: "learnt from somebody who is forgotten" in shop.log.read_text())
    assert f"training begins with {manifest.parent}" in shop.log.read_text()
    shop.wait("its end", lambda: shop.states()[-1] in ("finished", "failed"))
    assert shop.states()[-1] == "finished", shop.read(TRAINING_CONTROL)[-1]["reason"]
    assert shop.stop() < 8


def _open_erasures(shop: Shop) -> tuple[float, float] | None:
    text = shop.metrics()
    found = [
        re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in ("veilstream_erasures_open", "veilstream_erasure_oldest_seconds")
    ]
    return (float(found[0][1]), float(found[1][1])) if found[0] and found[1] else None


def _receipts(shop: Shop) -> list[dict[str, str]]:
    records = asyncio.run(read_topic(load_kafka_settings().bootstrap_servers, load_settings().topic_prefix + PRIVACY_AUDIT))
    links = [CODECS.for_topic(PRIVACY_AUDIT).decode(record.value, record.headers) for record in records]
    return [link["details"] for link in links if link["action"] == "erased"]


@pytest.mark.slow
def test_a_gate_that_says_no_announces_nothing_and_keeps_the_report(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_TRAINER_GATE_CASES", "100000")
    shop.start()
    shop.wait("the pairs", lambda: stored(shop))
    shop.stop()
    assert run(["trainer", "--once"]) == 0
    assert shop.read(MODELS) == []
    asked, ended = shop.read(TRAINING_CONTROL)
    assert (asked["state"], ended["state"], ended["model_version"]) == ("started", "finished", None)
    assert "too few cases" in ended["verdict"]
    report = shop.folder / "trainer" / "rounds" / asked["request_id"] / "report" / "report.md"
    assert "not promoted" in report.read_text()
    assert not (shop.folder / "trainer" / "round").exists()


def stored(shop: Shop) -> bool:
    if not (shop.folder / "trainer" / "pairs.sqlite").is_file():
        return False
    store = PairStore(shop.folder / "trainer", Bounds())
    count = len(store)
    store.close()
    return count == len(shop_pairs())


@pytest.mark.slow
def test_what_fails_is_told_and_the_old_model_serves(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in the store."""
    assert run(["trainer", "--once"]) == 1
    assert "no training pairs" in capsys.readouterr().out
    assert [r["state"] for r in shop.read(TRAINING_CONTROL)] == ["started", "failed"]
    assert "no training pairs" in shop.read(TRAINING_CONTROL)[-1]["reason"]
    assert shop.read(MODELS) == []
    assert not (shop.folder / "trainer" / "round").exists()


@pytest.mark.slow
def test_the_catalogue_is_read_whole(shop: Shop) -> None:
    found = asyncio.run(read_items(load_settings(), load_kafka_settings()))
    # As the catalogue stage writes an item's text: title and category.
    assert {i: f.text for i, f in found.items()} == {i: f"{f.text}. {f.category}" for i, f in shop_items().items()}


@pytest.mark.slow
def test_two_trainers_in_one_folder_are_refused(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.start()
    shop.wait("the lock", (shop.folder / "trainer" / "pairs.sqlite").is_file)
    assert run(["trainer", "--once"]) == 1
    assert "another trainer works in" in capsys.readouterr().err
    shop.stop()


@pytest.mark.slow
def test_a_child_that_outlives_its_trainer_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of the trainer alone leaves the child at work: the next one must not work on the same folder."""
    assert run(["trainer", "--request", "to see it learn"]) == 0
    shop.start()
    checkpoints = shop.folder / "trainer" / "round" / "checkpoints"
    shop.wait("a checkpoint", lambda: list(checkpoints.glob("step-????????")))
    orphaned = shop.process
    assert orphaned is not None
    orphaned.kill()
    orphaned.wait()
    shop.start()
    try:
        shop.wait("the end", lambda: "finished" in shop.states())
        assert shop.states() == ["requested", "started", "finished"]
        assert shop.stop() < 8
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(orphaned.pid, signal.SIGKILL)
