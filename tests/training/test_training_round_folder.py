"""The folder of rounds: begun, gone on with, ended, archived; and an end that is told twice has its effect once."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from streams.clock import SystemClock
from streams.errors import ConfigurationError
from streams.models.registry.store import ModelStore
from streams.privacy.keys import load_model_signing_key
from streams.ranking.serving_params import ServingParams
from streams.settings import load_kafka_settings, load_settings
from streams.topics import MODELS
from streams.training.announcer import Announcer
from streams.training.release import publish_base
from streams.training.requests import request
from streams.training.round import Judged
from streams.training.round_directory import RoundDirectory
from streams.training.service import TrainerService, conclude
from streams.training.store import Bounds, PairStore
from tests.support.trainer_data import pair
from tests.support.trainer_process import Shop

FITTED = ServingParams(120.0, 0.2, 0.3)


def judged(parent: str) -> Judged:
    return Judged(True, ["gains"], "f" * 12, parent, 32, FITTED, {"hr@10": 0.5}, 10, 1, 2, 3, 4.0)


def test_a_round_from_its_beginning_to_its_archive(tmp_path: Path) -> None:
    works = RoundDirectory(tmp_path)
    assert works.request is None and works.outcome is None
    works.begin(request("why", 5), up_to=7)
    works.note(attempts=2)
    assert works.request is not None and (works.request["up_to"], works.request["attempts"], works.request["reason"]) == (7, 2, "why")
    (works.round / "data").mkdir()
    works.end({"state": "failed", "reason": "no"})
    works.restart()
    assert works.outcome is None and not (works.round / "data").exists() and works.request is not None
    (works.round / "report").mkdir()
    (works.round / "report" / "report.md").write_text("no")
    works.end({"state": "finished"})
    kept = works.archive()
    assert sorted(path.name for path in kept.iterdir()) == ["outcome.json", "report", "request.json"]
    assert not works.round.exists()


def test_a_torn_request_is_none(tmp_path: Path) -> None:
    works = RoundDirectory(tmp_path)
    works.begin(request("why", 5), up_to=7)
    (works.round / "request.json").write_text('{"request_id": "a')
    assert works.request is None


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with RoundDirectory(tmp_path).alone(), pytest.raises(ConfigurationError, match="another trainer"), RoundDirectory(tmp_path).alone():
        pass
    with RoundDirectory(tmp_path).alone():
        pass


@pytest.mark.slow
def test_an_end_that_is_told_again_announces_once(shop: Shop) -> None:
    """As after a kill before the folder was cleared."""
    settings, kafka, clock = load_settings(), load_kafka_settings(), SystemClock()
    key = load_model_signing_key(settings.keys_dir / "models.key")
    version = "a" * 12
    publish_base(shop.folder / "model", judged(version), FITTED, ModelStore(settings.models), key, base="tiny", now_ms=1)
    works = RoundDirectory(settings.trainer_dir)
    works.begin(request("why", 5), up_to=0)
    works.end({"state": "finished", "reason": "better", "verdict": "gains", "version": version, "pairs": 10, "data_to": 99})
    store = PairStore(works.root, Bounds())
    for _ in range(2):
        copy = shop.folder / "copy"
        shutil.copytree(works.round, copy, dirs_exist_ok=True)
        asyncio.run(conclude(settings, kafka, works, Announcer(settings, kafka, clock), clock, store))
        assert not works.round.exists()
        shutil.copytree(copy, works.round)
    assert [(record["channel"], record["model_version"]) for record in shop.read(MODELS)] == [("canary", version)]
    assert set(shop.states()) == {"finished"}
    assert store.state("learnt_until") == 99
    store.close()


@pytest.mark.slow
def test_a_forgotten_shopper_s_round_begins_anew(shop: Shop) -> None:
    settings = load_settings()

    async def nothing_is_refused() -> None:
        return None

    service = TrainerService(settings, load_kafka_settings(), SystemClock(), nothing_is_refused)
    works = RoundDirectory(settings.trainer_dir)
    store = PairStore(works.root, Bounds())
    store.append([pair(1, "k1.a", "i1"), pair(2, "k1.b", "i2")], {})
    works.begin(request("why", 5), up_to=store.last())
    assert service.forget(store, "k1.c") == 0 and not service._begin_anew
    assert service.forget(store, "k1.a") == 1 and service._begin_anew
    assert [found["pseudonym"] for found in store.read()] == ["k1.b"]
    store.close()
