"""A BERT of two small layers with random weights, and a little shop in which shoppers keep to one kind of thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from encoders.finetune.examples import Example, TrainingSet

KINDS = 6
WORDS = [f"word{number}" for number in range(60)]


def tiny_bert(folder: Path) -> Path:
    """As sentence-transformers would have it on the disk; 32 dimensions."""
    torch.manual_seed(1)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.2,  # of random weights as small as usual nearly all comes from the embeddings, which adapters leave alone
        attn_implementation="sdpa",
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab={word: place for place, word in enumerate(vocabulary)}).save_pretrained(folder)
    (folder / "modules.json").write_text(json.dumps([{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "1_Pooling"}]))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16, "do_lower_case": False}))
    return folder


def tiny_shop(examples: int = 400, seed: int = 2) -> TrainingSet:
    """60 items of six kinds. An item's text has one word of its own and two of everybody's, so that only behaviour tells its kind;
    a shopper buys of one kind."""
    random = np.random.default_rng(seed)
    texts = [f"{word} word{random.integers(60)} word{random.integers(60)}" for word in WORDS]
    found = []
    for number in range(examples):
        user = int(random.integers(80))
        own = np.arange(user % KINDS, len(texts), KINDS)
        picked = random.permutation(own)[:5].tolist()
        weights = tuple((0.5 + random.random(4) / 2).tolist())
        shown = tuple(int(text) for text in random.integers(0, 60, 2) if text % KINDS != user % KINDS)
        found.append(Example(user, tuple(picked[:4]), weights, picked[4], 1.0, float(random.uniform(0.05, 1)), 1000 * number, shown))
    counts = np.bincount([example.target for example in found], minlength=len(texts))
    return TrainingSet(texts, counts, found)
