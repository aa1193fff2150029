"""Model folders for tests of the registry: without weights that mean anything, and a real BERT that is tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streams.models.registry.folder import file_sizes, hash_files, model_files
from streams.models.registry.manifest import Manifest
from streams.ranking.serving_params import ServingParams

SERVING = ServingParams(half_life_days=90.0, popularity_weight=0.25, threshold=0.3)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "dress", "shoe", "tea", "pot"]


def write_folder(folder: Path, *, weights: bytes = b"weights" * 100, dimension: int = 16) -> Path:
    """Files as a model has them, in two levels."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps({"hidden_size": dimension}))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "README.md").write_text("# A card")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


def manifest_of(folder: Path, version: str = "0123456789ab", **changes: Any) -> Manifest:
    """A manifest that fits the folder."""
    fields: dict[str, Any] = {
        "model_version": version,
        "parent": "ba9876543210",
        "base": "bundled-en",
        "created_at": 1_700_000_000_000,
        "dimension": 16,
        "files": hash_files(folder, model_files(folder)[0]),
        "sizes": file_sizes(folder, model_files(folder)[0]),
        "metrics": {"hr@10": 0.42, "ndcg@10": 0.088},
        "serving": SERVING,
        "data_from": 1_600_000_000_000,
        "data_to": 1_699_000_000_000,
        "pairs": 1234,
        "verdict": "gains 0.01 [0.005, 0.015]",
    }
    return Manifest(**{**fields, **changes})


def write_tiny_bert(folder: Path, *, seed: int = 1) -> Path:
    """A BERT of one small layer with random weights, which loads."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder
