"""Encoders: unit vectors in input order, whatever the texts; clear errors for folders that are no models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import load_encoder
from encoders.batching.micro_batcher import EncodesTexts
from encoders.encoder import token_batches
from encoders.errors import UnusableError


@pytest.fixture(scope="module", params=["bundled-en", "hashing"])
def encoder(request: pytest.FixtureRequest) -> EncodesTexts:
    return load_encoder(request.param)


STRANGE = ["", "a", " ", "红色连衣裙", "😀👍🏽", "\ud800 half a pair", "x" * 100_000, "Ünï çødé 混合 текст", "\x00\x01"]


@pytest.mark.slow
def test_unit_vectors_for_any_text(encoder: EncodesTexts) -> None:
    vectors = encoder.encode(STRANGE)
    assert vectors.shape == (len(STRANGE), encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)


@pytest.mark.slow
def test_alone_or_in_a_batch_in_any_order(encoder: EncodesTexts) -> None:
    texts = ["red running shoes", "帆布鞋", "a much longer title of a coffee grinder with many words", "tea"] * 5
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    backwards = encoder.encode(texts[::-1])[::-1]
    assert float((together * alone).sum(axis=1).min()) > 1 - 1e-3
    assert float((together * backwards).sum(axis=1).min()) > 1 - 1e-3
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_similar_titles_are_similar(encoder: EncodesTexts) -> None:
    shoes, sneakers, teapot = encoder.encode(["red running shoes", "running shoes in red", "porcelain teapot"])
    assert shoes @ sneakers > shoes @ teapot + 0.2


@pytest.mark.slow
def test_versions_tell_models_apart() -> None:
    assert load_encoder("bundled-en").version == load_encoder("bundled-en").version
    assert load_encoder("bundled-en").version != load_encoder("hashing").version


def test_what_is_not_text_is_named() -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] is int"):
        load_encoder("bundled-en").encode(["a", 7])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="give a list"):
        load_encoder("bundled-en").encode("one text")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "config.json is missing"),
        ({"config.json": "{}"}, "no \\*.safetensors"),
        ({"config.json": "{}", "pytorch_model.bin": "x"}, "pickle"),
        ({"config.json": "{}", "model.safetensors": "x"}, "no tokenizer"),
        ({"config.json": "{}", "model.safetensors": "not a tensor file", "vocab.txt": "x"}, "can't be loaded"),
        ({"config.json": "{", "model.safetensors": "x", "vocab.txt": "x"}, "is no JSON"),
    ],
)
def test_a_folder_that_is_no_model(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UnusableError, match=said):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(("setting", "value"), [("device", "abacus"), ("precision", "int3")])
def test_a_wrong_setting_is_named(setting: str, value: str) -> None:
    with pytest.raises(UnusableError, match=value):
        load_encoder("bundled-en", **{setting: value})


def test_importing_encoders_imports_no_torch() -> None:
    code = "import sys, encoders; encoders.load_encoder('hashing'); assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(64, 2048))
def test_batches_keep_the_budget_and_every_row(lengths: list[int], budget: int) -> None:
    array = np.array(lengths, np.int64)
    batches = list(token_batches(array, budget))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * int(array[batch].max()) <= budget
