"""The trained parts of a model: low-rank adapters, which are merged into plain weights at the end, or all weights."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from encoders.finetune.config import FinetuneConfig
from encoders.finetune.text_model import TextModel
from encoders.folder import locate, without_weights

_TARGETS = {
    "bert": ["query", "key", "value", "dense"],
    "roberta": ["query", "key", "value", "dense"],
    "xlm-roberta": ["query", "key", "value", "dense"],
    "camembert": ["query", "key", "value", "dense"],
    "electra": ["query", "key", "value", "dense"],
    "distilbert": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"],
    "mpnet": ["q", "k", "v", "o", "dense"],
}
"""Every product with weights within the layers, by architecture; for others peft finds them ("all-linear")."""


def attach(text_model: TextModel, config: FinetuneConfig) -> None:
    """Make the model trainable as ``config.adapter`` says. The adapters' first values follow from torch's random state."""
    model = text_model.model
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if config.adapter == "full":
        model.requires_grad_(True)
    else:
        from peft import LoraConfig, get_peft_model

        targets = _TARGETS.get(model.config.model_type, "all-linear")
        lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout, target_modules=targets)
        text_model.model = get_peft_model(model, lora)
    text_model.model.train()


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """By name, in the model's order."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def merged(text_model: TextModel) -> Any:
    """A plain model of its own with the adapters' products added to its weights, and the pooler put back; the one in training stays."""
    model = deepcopy(text_model.model).cpu()
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.pooler = text_model.pooler
    return model.eval()


def save(text_model: TextModel, base_folder: Path, out_folder: Path) -> None:
    """Write what ``load_encoder`` reads: merged safetensors, and the base's tokenizer and sentence-transformers files. Complete or not at
    all. Raises UnusableError if the folder is there already."""
    with without_weights(locate(str(base_folder)), out_folder) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a generation configuration, which encoders have none of
        merged(text_model).save_pretrained(part)
