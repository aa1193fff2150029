"""What goes from the trainer's folder, what stays, and that the running round is never touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.cli.main import run
from streams.training.retention import Retention, prune_folder

NOW, DAY = 1_795_755_600.0, 86_400.0


def put(path: Path, days_old: float) -> Path:
    """A folder with a file in it, or a file."""
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    else:
        path.mkdir(parents=True)
        (path / "file").write_text("x")
    os.utime(path, (NOW - days_old * DAY,) * 2)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        put(tmp_path / "rounds" / f"r{number}", number * 100)
        put(tmp_path / "tensorboard" / f"r{number}", number * 100)
    put(tmp_path / "pairs.damaged", 8)
    put(tmp_path / "pairs.sqlite", 900)
    put(tmp_path / "round", 900)
    return tmp_path


def test_the_newest_rounds_stay_if_they_are_not_too_old(folder: Path) -> None:
    gone = prune_folder(folder, Retention(rounds=3, days=365), now_s=NOW)
    assert gone == ["pairs.damaged", *(f"{name}/r{n}" for name in ("rounds", "tensorboard") for n in (3, 4, 5))]
    assert sorted(path.name for path in (folder / "rounds").iterdir()) == ["r0", "r1", "r2"]
    assert (folder / "pairs.sqlite").exists() and (folder / "round" / "file").exists()
    assert prune_folder(folder, Retention(rounds=3, days=150), now_s=NOW) == ["rounds/r2", "tensorboard/r2"]


def test_a_damaged_file_stays_a_week(folder: Path) -> None:
    os.utime(folder / "pairs.damaged", (NOW - 6 * DAY,) * 2)
    assert prune_folder(folder, Retention(), now_s=NOW) == ["rounds/r4", "rounds/r5", "tensorboard/r4", "tensorboard/r5"]


def test_a_link_is_removed_and_what_it_names_stays(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = put(tmp_path_factory.mktemp("elsewhere") / "kept", 900)
    (folder / "old.damaged").symlink_to(elsewhere)
    os.utime(folder / "old.damaged", (NOW - 9 * DAY,) * 2, follow_symlinks=False)
    assert "old.damaged" in prune_folder(folder, Retention(), now_s=NOW)
    assert (elsewhere / "file").exists() and not (folder / "old.damaged").is_symlink()


def test_nothing_is_there(tmp_path: Path) -> None:
    assert prune_folder(tmp_path, Retention(), now_s=NOW) == []


def test_by_command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VEILSTREAM_TRAINER_DIR", str(folder))
    monkeypatch.setenv("VEILSTREAM_TRAINER_KEEP_ROUNDS", "1")
    for path in (folder / "rounds").iterdir():
        os.utime(path)
    assert run(["trainer", "--tidy"]) == 0
    assert capsys.readouterr().out.count("removed rounds/") == 5
    assert run(["trainer", "--tidy"]) == 0
    assert "nothing has expired" in capsys.readouterr().out
