"""``veilstream models explain`` on real files: a signed version, a folder, a picture, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from encoders.folder import RANKER
from streams.cli.main import run
from streams.models.registry.store import ModelStore
from streams.privacy.keys import load_model_signing_key
from streams.ranking.learned.features import FEATURES, LEVELS, PLACE
from streams.ranking.learned.file import ranker_bytes
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import nothing_related
from tests.support.model_folders import manifest_of, write_folder

Capture = pytest.CaptureFixture[str]


def ranker_file(folder: Path, fitted: str = "") -> Path:
    tables = np.zeros((len(FEATURES), LEVELS), np.float32)
    tables[PLACE["related"], 100:] = 2.0
    tables[PLACE["price"]] = np.linspace(0.0, -1.0, LEVELS)
    path = folder / RANKER
    path.parent.mkdir(parents=True)
    path.write_bytes(ranker_bytes(Ranker(tables, 0.0, 1.0, 0.0, nothing_related(), no_forest(), fitted=fitted)))
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> ModelStore:
    """Version v1 has no ranker, v2 has one."""
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("VEILSTREAM_MODELS", str(tmp_path / "store"))
    assert run(["keys", "generate", "--only", "models"]) == 0
    found, key = ModelStore(str(tmp_path / "store")), load_model_signing_key(tmp_path / "keys" / "models.key")
    for version in ("v1", "v2"):
        source = write_folder(tmp_path / f"source-{version}", weights=version.encode())
        if version == "v2":
            ranker_file(source)
        found.publish(source, manifest_of(source, version), key)
    capsys.readouterr()
    return found


def test_a_version_is_explained(store: ModelStore, capsys: Capture) -> None:
    assert run(["models", "explain", "v2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ranker of v2: 2 of 18 features, each by itself (an additive model)\n")
    assert out.index(" 1. related: weight 2.000") < out.index(" 2. price: weight 1.000")
    assert "not used: text_history," in out


def test_a_version_without_ranker_says_so(store: ModelStore, capsys: Capture) -> None:
    assert run(["models", "explain", "v1"]) == 0
    assert capsys.readouterr().out.startswith("version v1 has no ranker: the score is the sum by hand-set weights")


def test_what_is_not_signed_is_not_explained(store: ModelStore, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "store" / "v2" / RANKER
    path.write_bytes(path.read_bytes() + b"x")
    assert run(["models", "explain", "v2"]) == 1
    assert "model refused (hash): ranker/ranker.safetensors of v2 differs from the signed file" in capsys.readouterr().err
    path.unlink()
    assert run(["models", "explain", "v2"]) == 1
    assert "model refused (missing_file): ranker/ranker.safetensors of v2 is missing" in capsys.readouterr().err
    assert run(["models", "explain", "v9"]) == 1
    assert "there is no model version v9" in capsys.readouterr().err


def test_a_folder_needs_no_keys(tmp_path: Path, capsys: Capture) -> None:
    ranker_file(tmp_path / "model", fitted="12 lists\x1b[31m")
    assert run(["models", "explain", "--folder", str(tmp_path / "model")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ranker in {tmp_path / 'model'}: ") and "fitted: 12 lists\\u001b[31m" in out
    assert run(["models", "explain", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path} has no ranker")


def test_a_damaged_file_is_named(tmp_path: Path, capsys: Capture) -> None:
    ranker_file(tmp_path).write_bytes(b"12345678")
    assert run(["models", "explain", "--folder", str(tmp_path)]) == 1
    assert "ranker.safetensors can't be served: the ranker's file is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_the_curves_are_drawn(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    ranker_file(tmp_path)
    assert run(["models", "explain", "--folder", str(tmp_path), "--plot", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().err == f"wrote {tmp_path / 'curves.png'}\n"


@pytest.mark.parametrize("arguments", [[], ["v1", "--folder", "."]])
def test_one_of_version_and_folder(arguments: list[str], capsys: Capture) -> None:
    assert run(["models", "explain", *arguments]) == 2
    assert "name a VERSION, or --folder PATH, one of them" in capsys.readouterr().err
