"""What the trainer and a stage keep on disk is their owner's alone, whatever the umask, and no link leads it elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encoders.finetune.examples import TrainingSet
from streams.cli.backtest import _write
from streams.engine.process import make_state_folder
from streams.errors import ConfigurationError, TransientError
from streams.training.round_directory import RoundDirectory, read_json, write_json
from streams.training.store import Bounds, PairStore


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    mask = os.umask(0o022)
    yield
    os.umask(mask)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def a_set() -> TrainingSet:
    return TrainingSet(["item text", "anna schmidt"], np.array([1, 0]), [], np.array([True, False]))


def test_the_trainer_s_folder_and_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "trainer"
    folder.mkdir(mode=0o755)
    store = PairStore(folder, Bounds())
    store.append([], {("training.pairs", 0): 1})
    a_set().save(folder / "round" / "data")
    write_json(folder / "round" / "request.json", {"request_id": "1"})
    assert mode(folder) == 0o700
    readable = [path.name for path in folder.rglob("*") if path.is_file() and mode(path) & 0o077]
    assert readable == []
    store.close()
    (tmp_path / "other").mkdir(mode=0o755)
    with RoundDirectory(tmp_path / "other").alone():
        assert mode(tmp_path / "other") == 0o700
    with RoundDirectory(tmp_path / "third").working():
        assert mode(tmp_path / "third") == 0o700


def test_a_stage_s_state_is_private(tmp_path: Path) -> None:
    (tmp_path / "state" / "profile").mkdir(parents=True)
    make_state_folder(tmp_path / "state" / "profile")
    make_state_folder(tmp_path / "state" / "feedback")
    assert mode(tmp_path / "state" / "profile") == mode(tmp_path / "state" / "feedback") == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="VEILSTREAM_STATE_DIR"):
        make_state_folder(tmp_path / "file" / "profile")


def test_no_link_leads_what_is_written_elsewhere(tmp_path: Path) -> None:
    """At the names that files had until they were complete, and at their own."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    out = tmp_path / "out"
    names = ("r.csv", "request.json", "examples.npz")
    out.mkdir()
    for name in [f"{name}{suffix}" for name in names for suffix in ("", ".part", ".tmp")]:
        (out / name).symlink_to(victim)
    _write(out / "r.csv", [("u", 1, "i", 1.0)])
    write_json(out / "request.json", {"a": 1})
    a_set().save(out)
    assert victim.read_text() == "precious"
    assert (out / "r.csv").read_text().splitlines() == ["user,rank,item,score", "u,1,i,1.000000"]
    assert read_json(out / "request.json") == {"a": 1} and TrainingSet.load(out).texts == a_set().texts
    assert not any((out / name).is_symlink() for name in names)


def test_a_link_in_place_of_the_store_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "pairs.sqlite").symlink_to(victim)
    with pytest.raises(TransientError, match="Too many levels of symbolic links"):
        PairStore(tmp_path / "trainer", Bounds())
    assert victim.read_text() == "precious"
