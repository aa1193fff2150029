"""Structured pruning: a model without some of its layers. It is faster in proportion. The loss of quality must be measured."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from encoders.errors import UnusableError
from encoders.folder import check_files, locate, read_json, without_weights

_LAYER = re.compile(r"(.*\blayer\.)(\d+)(\..*)")
"""Of BERT, RoBERTa, ELECTRA and DistilBERT: the number between the list's name and the part's."""
_COUNTS = ("num_hidden_layers", "n_layers")


def keep_layers(name_or_path: str, layers: Sequence[int], target: Path) -> None:
    """Write the model with these layers alone (from 0, ascending) to the new folder ``target``: weights as safetensors, and what else the
    model's folder holds. Whole or not at all.

    Raises UnusableError for a model or layers that can't be used, and where ``target`` exists.
    """
    source = locate(name_or_path)
    weights = check_files(source)
    config = read_json(source / "config.json", dict)
    count = next((name for name in _COUNTS if type(config.get(name)) is int), None)
    if count is None:
        raise UnusableError(f"{source / 'config.json'} does not say how many layers the model has; only BERT's family is offered")
    kept = list(layers)
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= config[count]:
        raise UnusableError(f"the model has layers 0 to {config[count] - 1}; name those to keep in ascending order, such as 0,2,3")
    tensors = _kept({name: tensor for path in weights for name, tensor in load_file(path).items()}, kept)
    if len({match[2] for match in map(_LAYER.fullmatch, tensors) if match}) != len(kept):
        raise UnusableError(f"the weights in {source} are not named like those of BERT's family; only that is offered")
    with without_weights(source, target) as part:
        save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
        (part / "config.json").write_text(json.dumps(config | {count: len(kept)}, indent=2), encoding="utf-8")


def _kept(tensors: dict[str, Any], layers: list[int]) -> dict[str, Any]:
    """Without the other layers, and numbered anew."""
    result = {}
    for name, tensor in tensors.items():
        found = _LAYER.fullmatch(name)
        if found is None:
            result[name] = tensor
        elif int(found[2]) in layers:
            result[f"{found[1]}{layers.index(int(found[2]))}{found[3]}"] = tensor
    return result
