"""Checkpoints: tensors as safetensors, the rest as JSON, a checksum over both, no pickle. An incomplete one is not used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_LOG = logging.getLogger(__name__)
_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True, slots=True)
class Found:
    """The newest complete checkpoint of this training, if any, and the newer ones that were refused."""

    tensors: dict[str, torch.Tensor] | None
    state: dict[str, Any]
    refused: tuple[str, ...]


class Checkpoints:
    """Folders ``step-00000123`` in one folder; the newest ``keep`` stay."""

    def __init__(self, folder: Path, *, fingerprint: str, keep: int = 2) -> None:
        """``fingerprint`` names data, settings and base: one with another is not resumed from."""
        self._folder, self._fingerprint, self._keep = folder, fingerprint, keep

    def save(self, step: int, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> Path:
        """Under another name until it is on the disk. A full disk raises OSError and leaves the older ones as they are."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"step-{step:08d}"
        part = target.with_suffix(".part")
        for left in self._folder.glob("*.part"):
            shutil.rmtree(left)
        part.mkdir()
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part / _TENSORS)
            body = {"fingerprint": self._fingerprint, "step": step, **state, "sha256": _sha256(part / _TENSORS)}
            text = json.dumps(body)
            (part / _STATE).write_text(json.dumps({"body": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}), encoding="utf-8")
            for name in (_TENSORS, _STATE):
                _sync(part / name)
            if target.exists():
                shutil.rmtree(target)
            part.replace(target)
            _sync(self._folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        # Later checkpoints are damaged or of an abandoned training. If they stayed, good ones would be removed.
        mine = [path for path in self._all() if path.name <= target.name]
        for old in [path for path in self._all() if path not in mine[: self._keep]]:
            shutil.rmtree(old)
        return target

    def newest(self) -> Found:
        """The newest whole one; a damaged one is reported and the one before it taken."""
        refused = []
        for path in self._all():
            try:
                tensors, state = self._read(path)
            except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
                refused.append(f"{path.name}: {error}")
                _LOG.warning("checkpoint %s is not used: %s", path.name, error)
                continue
            return Found(tensors, state, tuple(refused))
        return Found(None, {}, tuple(refused))

    def clear(self) -> None:
        """Remove them: the training is at its end."""
        for path in self._all():
            shutil.rmtree(path)

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob("step-????????"), reverse=True) if self._folder.is_dir() else []

    def _read(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        sealed = json.loads((path / _STATE).read_text(encoding="utf-8"))
        if hashlib.sha256(sealed["body"].encode()).hexdigest() != sealed["sha256"]:
            raise ValueError("its state does not have the checksum written with it")
        state: dict[str, Any] = json.loads(sealed["body"])
        if state["fingerprint"] != self._fingerprint:
            raise ValueError("it is of a training with other data, settings or base model")
        if _sha256(path / _TENSORS) != state["sha256"]:
            raise ValueError("its tensors do not have the checksum written with them")
        return load_file(path / _TENSORS), state


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
