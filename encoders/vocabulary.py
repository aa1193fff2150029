"""A multilingual model without the pieces of scripts that a catalogue does not use: the same vectors, less memory."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from encoders.errors import UnusableError
from encoders.folder import check_files, locate, read_json, without_weights

SCRIPTS = {
    "latin": ("LATIN",),
    "han": ("CJK", "KANGXI", "IDEOGRAPHIC"),
    "japanese": ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "hangul": ("HANGUL",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
}
"""A script, and how Unicode's names of its letters begin."""
_EMBEDDINGS = "embeddings.word_embeddings.weight"


def keep_scripts(name_or_path: str, scripts: Collection[str], target: Path) -> tuple[int, int]:
    """Write the model to the new folder ``target`` with only those pieces whose letters are of these scripts. Numbers, punctuation, signs
    and emoji stay. Returns how many pieces stay, and how many there were.

    A text of these scripts alone has the same tokens as before: a unigram tokenizer chooses among the pieces that are part of the text,
    and all of those stay. So its vector is the same. Letters of other scripts become unknown.

    Raises UnusableError for an unknown script, for a model whose tokenizer is not a unigram model, and where ``target`` exists.
    """
    unknown = sorted(set(scripts) - set(SCRIPTS))
    if unknown or not scripts:
        raise UnusableError(f"unknown scripts: {', '.join(unknown) or 'none given'}; there are {', '.join(SCRIPTS)}")
    source = locate(name_or_path)
    weights = check_files(source)
    tokenizer = _unigram(source)
    pieces, added = tokenizer["model"]["vocab"], tokenizer["added_tokens"]
    special = {token["id"] for token in added} | {tokenizer["model"]["unk_id"]}
    prefixes = tuple(prefix for script in scripts for prefix in SCRIPTS[script])
    kept = [number for number, (piece, _) in enumerate(pieces) if number in special or all(_is_of(c, prefixes) for c in piece)]
    tensors = {name: tensor for path in weights for name, tensor in load_file(path).items()}
    rows = next((name for name in tensors if name.endswith(_EMBEDDINGS)), None)
    if rows is None or len(tensors[rows]) < len(pieces):
        raise UnusableError(f"the weights in {source} have no embedding for every piece; only BERT's family is offered")
    tensors[rows] = tensors[rows][kept].clone()
    config = read_json(source / "config.json", dict)
    new = {old: place for place, old in enumerate(kept)}
    config |= {"vocab_size": len(kept)}
    config |= {name: new[config[name]] for name in ("pad_token_id", "bos_token_id", "eos_token_id") if config.get(name) in new}
    with without_weights(source, target) as part:
        save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
        (part / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        (part / "tokenizer.json").write_text(json.dumps(_renumbered(tokenizer, kept, new), ensure_ascii=False), encoding="utf-8")
        (part / "unpacked.json").unlink(missing_ok=True)
    return len(kept), len(pieces)


def _unigram(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    found = read_json(path, dict)
    if found.get("model", {}).get("type") != "Unigram":
        raise UnusableError(f"the tokenizer in {folder} is no unigram model (tokenizer.json); pieces can't be left out of another kind")
    return dict(found)


def _renumbered(tokenizer: dict[str, Any], kept: list[int], new: dict[int, int]) -> dict[str, Any]:
    model = tokenizer["model"]
    model = {**model, "vocab": [model["vocab"][old] for old in kept], "unk_id": new[model["unk_id"]]}
    added = [{**token, "id": new[token["id"]]} for token in tokenizer["added_tokens"]]
    after = tokenizer.get("post_processor")
    if after is not None and "special_tokens" in after:
        named = {name: {**token, "ids": [new[old] for old in token["ids"]]} for name, token in after["special_tokens"].items()}
        after = {**after, "special_tokens": named}
    padding = tokenizer.get("padding")
    if padding is not None:
        padding = {**padding, "pad_id": new[padding["pad_id"]]}
    return {**tokenizer, "model": model, "added_tokens": added, "post_processor": after, "padding": padding}


@cache
def _name(character: str) -> str:
    return unicodedata.name(character, "") if unicodedata.category(character)[0] == "L" else ""


def _is_of(character: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a character is no letter, or one of these scripts."""
    name = _name(character)
    return not name or name.startswith(prefixes)
