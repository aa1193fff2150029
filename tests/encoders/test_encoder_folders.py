"""Folders of models: what their own files ask for is done, and what can't be right is refused, never guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizerFast, RobertaConfig, RobertaModel

from encoders import load_encoder
from encoders.errors import UnusableError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "dress", "shoe", "tea", "pot", "query", ":"]
SMALL: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
Change = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of two small layers with random weights, and the files that sentence-transformers puts beside one."""
    torch.manual_seed(1)
    folder = tmp_path / "model"
    BertModel(BertConfig(**SMALL)).save_pretrained(folder)
    save_tokenizer(folder)
    write(folder, "modules.json", [{"type": "sentence_transformers.models.Transformer", "path": ""}, pooling_module()])
    write(folder, "1_Pooling/config.json", {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True})
    write(folder, "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
    return folder


def save_tokenizer(folder: Path) -> None:
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)}).save_pretrained(folder)


def pooling_module() -> dict[str, str]:
    return {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def merge(folder: Path, name: str, **changes: Any) -> None:
    write(folder, name, json.loads((folder / name).read_text()) | changes)


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change({name: tensor.clone() for name, tensor in load_file(path).items()}), path, metadata={"format": "pt"})


def expected(folder: Path, text: str, pooling: str, max_tokens: int) -> np.ndarray[Any, Any]:
    """The vector by transformers alone, one text without padding."""
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    with torch.inference_mode():
        ids = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
        hidden = BertModel.from_pretrained(folder).eval()(**ids).last_hidden_state[0].numpy()
    vector = hidden[0] if pooling == "cls" else hidden.mean(axis=0)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_pools_as_the_folder_says(folder: Path, config: dict[str, Any], pooling: str) -> None:
    write(folder, "1_Pooling/config.json", config)
    texts = ["a red dress", "tea", "blue shoe tea pot " * 8]
    vectors = load_encoder(str(folder), precision="fp32").encode(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.allclose(vector, expected(folder, text, pooling, max_tokens=12), atol=1e-5)
    other = "mean" if pooling == "cls" else "cls"
    assert not np.allclose(vectors[0], expected(folder, texts[0], other, max_tokens=12), atol=1e-3)


def test_a_plain_bert_folder_gets_the_mean(folder: Path) -> None:
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    assert np.allclose(
        load_encoder(str(folder), precision="fp32").encode(["red shoe"])[0], expected(folder, "red shoe", "mean", 24), atol=1e-5
    )


def test_the_prompt_that_a_model_wants_stands_before_every_text(folder: Path) -> None:
    plain = load_encoder(str(folder), precision="fp32")
    write(folder, "config_sentence_transformers.json", {"prompts": {"q": "query: "}, "default_prompt_name": "q"})
    prompted = load_encoder(str(folder), precision="fp32")
    assert np.allclose(prompted.encode(["red"]), plain.encode(["query: red"]), atol=1e-6)
    assert prompted.version != plain.version


def test_no_text_is_longer_than_the_positions(folder: Path) -> None:
    merge(folder, "sentence_bert_config.json", max_seq_length=9999)
    assert load_encoder(str(folder)).encode(["tea " * 500]).shape == (1, 16)


def test_roberta_counts_its_positions_from_behind_the_padding(tmp_path: Path) -> None:
    RobertaModel(RobertaConfig(**SMALL, pad_token_id=1)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 24})
    assert load_encoder(str(tmp_path)).encode(["tea " * 500, "pot"]).shape == (2, 16)


DIFFERENT: list[Change] = [
    lambda f: weights(f, lambda w: w | {"embeddings.LayerNorm.bias": w["embeddings.LayerNorm.bias"] + 1}),
    lambda f: write(f, "1_Pooling/config.json", {"pooling_mode": "cls"}),
    lambda f: merge(f, "sentence_bert_config.json", max_seq_length=7),
    lambda f: merge(f, "sentence_bert_config.json", do_lower_case=True),
    lambda f: merge(f, "config.json", layer_norm_eps=1e-3),
    lambda f: merge(f, "tokenizer_config.json", do_lower_case=False),
]


@pytest.mark.parametrize("change", DIFFERENT)
def test_whatever_decides_the_vectors_decides_the_version(folder: Path, change: Change) -> None:
    before = load_encoder(str(folder)).version
    assert load_encoder(str(folder)).version == before
    assert load_encoder(str(folder), precision="bf16").version == before
    change(folder)
    assert load_encoder(str(folder)).version != before


REFUSED: list[tuple[Change, str]] = [
    (lambda f: weights(f, lambda w: {"foreign": torch.ones(3)}), "lack .* tensors"),
    (lambda f: weights(f, lambda w: {k: v for k, v in w.items() if "layer.1." not in k}), "lack 16 tensors"),
    (lambda f: merge(f, "config.json", num_hidden_layers=3), "lack 16 tensors"),
    (lambda f: merge(f, "config.json", intermediate_size=64), "can't be loaded"),
    (lambda f: merge(f, "config.json", hidden_size=32), "different models: the pooling wants 16 dimensions, the model has 32"),
    (lambda f: weights(f, lambda w: {k: v * float("nan") for k, v in w.items()}), "no finite vectors"),
    (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:900]), "can't be loaded"),
    (lambda f: [path.unlink() for path in f.glob("*") if path.name in ("tokenizer.json", "vocab.txt")], "no tokenizer"),  # type: ignore[list-item, misc]
    (lambda f: (f / "tokenizer.json").write_text("{}"), "can't be loaded"),
    (
        lambda f: (
            merge(f, "config.json", vocab_size=5),
            weights(f, lambda w: w | {"embeddings.word_embeddings.weight": w["embeddings.word_embeddings.weight"][:5].clone()}),
        ),  # type: ignore[list-item, misc]
        "knows 14 tokens, the model 5",
    ),
    (lambda f: write(f, "modules.json", [{"type": "sentence_transformers.models.Dense"}]), "Dense module"),
    (lambda f: write(f, "modules.json", {}), "must hold a JSON list"),
    (lambda f: write(f, "modules.json", ["Pooling"]), "not a list of modules"),
    (lambda f: (f / "modules.json").write_text("["), "is no JSON"),
    (lambda f: write(f, "1_Pooling/config.json", {"pooling_mode_max_tokens": True}), "neither mean nor CLS"),
    (
        lambda f: write(f, "1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}),
        "neither mean nor CLS",
    ),
    (lambda f: merge(f, "sentence_bert_config.json", max_seq_length=0), "max_seq_length"),
    (lambda f: merge(f, "sentence_bert_config.json", max_seq_length="12"), "max_seq_length"),
    (lambda f: write(f, "config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": "q"}), "prompt 'q'"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_what_can_not_be_right_is_refused(folder: Path, change: Change, said: str) -> None:
    change(folder)
    with pytest.raises(UnusableError, match=said):
        load_encoder(str(folder))


def test_code_that_a_folder_brings_is_not_run(folder: Path) -> None:
    merge(folder, "config.json", auto_map={"AutoModel": "brought.Model"})
    (folder / "brought.py").write_text("raise SystemExit('ran')")
    assert load_encoder(str(folder)).dimension == 16


@pytest.mark.parametrize("name", ["/none/such", "./none", "~/none/such"])
def test_a_folder_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnusableError, match="VEILSTREAM_MODEL"):
        load_encoder(name)


def test_a_hub_id_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnusableError, match=r"neither a folder nor .* VEILSTREAM_MODEL"):
        load_encoder("nobody/no-such-model")
