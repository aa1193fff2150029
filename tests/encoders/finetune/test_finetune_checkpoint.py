"""Checkpoints: whole or refused, never half believed."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from encoders.finetune import checkpoint
from encoders.finetune.checkpoint import Checkpoints


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "c", fingerprint="f")
    for step in (10, 20, 30):
        checkpoints.save(step, {"a": torch.full((50,), float(step))}, {"seconds": 1.5, "losses": [0.1, float("nan")]})
    return checkpoints


def test_the_newest_two_stay(store: Checkpoints, tmp_path: Path) -> None:
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-00000020", "step-00000030"]
    found = store.newest()
    assert found.tensors is not None
    assert found.tensors["a"].tolist() == [30.0] * 50
    assert found.state["step"] == 30
    assert found.refused == ()
    store.clear()
    assert store.newest().tensors is None


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("how", ["truncated", "flipped", "missing", "empty"])
def test_damaged_is_refused_and_the_one_before_is_used(store: Checkpoints, tmp_path: Path, name: str, how: str) -> None:
    path = tmp_path / "c" / "step-00000030" / name
    body = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        place = len(body) // 2
        changed = {"truncated": body[:place], "flipped": body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :], "empty": b""}
        path.write_bytes(changed[how])
    found = store.newest()
    assert found.tensors is not None
    assert found.state["step"] == 20
    assert len(found.refused) == 1
    assert "step-00000030" in found.refused[0]


def test_of_another_training(store: Checkpoints, tmp_path: Path) -> None:
    found = Checkpoints(tmp_path / "c", fingerprint="other").newest()
    assert found.tensors is None
    assert all("other data, settings or base" in reason for reason in found.refused)


def test_a_full_disk_leaves_the_others(store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(checkpoint, "_sync", full)
    with pytest.raises(OSError, match="no space"):
        store.save(40, {"a": torch.zeros(5)}, {})
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-00000020", "step-00000030"]
    assert store.newest().state["step"] == 30


def test_what_a_kill_left_half_written_is_not_seen(store: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "c" / "step-00000040.part").mkdir()
    assert store.newest().state["step"] == 30
    store.save(50, {"a": torch.zeros(1)}, {})
    assert not list((tmp_path / "c").glob("*.part"))
