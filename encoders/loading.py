"""Loads a model from its folder and proves that it works: safetensors only, no remote code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from encoders.encoder import Encoder
from encoders.folder import check_files, locate, sentence_config, version
from streams.errors import ConfigurationError

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_DEFAULT_MAX_TOKENS = 256


def load(name_or_path: str, *, device: str, precision: str, token_budget: int) -> Encoder:
    """See ``encoders.load_encoder``."""
    target = _device(device)
    dtype = _dtype(precision, target)
    folder = locate(name_or_path)
    weights = check_files(folder)
    config = sentence_config(folder)
    tokenizer, model = _from_files(folder, dtype)
    max_tokens = min(config.max_tokens or _DEFAULT_MAX_TOKENS, _positions(model), tokenizer.model_max_length)
    if getattr(model, "pooler", None) is not None and hasattr(model.pooler, "dense"):
        model.pooler = None  # BERT's pooler is not used: its weights and its product are left out
    encoder = Encoder(
        model.eval().to(target),
        tokenizer,
        pooling=config.pooling,
        max_tokens=max_tokens,
        lower_case=config.lower_case,
        prompt=config.prompt,
        version=version(folder, weights, config, max_tokens),
        token_budget=token_budget,
    )
    _try_out(encoder, folder)
    return encoder


def _from_files(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    quiet: Any = transformers_logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        model, found = AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:
        # The files are somebody else's, and what a damaged one raises is not documented (the tokenizers' is a bare Exception).
        raise ConfigurationError(f"the model in {folder} can't be loaded ({type(error).__name__}: {_first_line(error)})") from error
    # transformers fills what is missing with random numbers. The pooler is left out anyway.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ConfigurationError(
            f"the weights in {folder} lack {len(missing)} tensors that its config.json asks for ({missing[0]}, ...); "
            "copy weights and config.json from one source"
        )
    words = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > words:
        raise ConfigurationError(f"the tokenizer in {folder} knows {len(tokenizer)} tokens, the model {words}; copy both from one source")
    return tokenizer, model


def _positions(model: Any) -> int:
    """How many tokens the model has positions for. RoBERTa's family numbers them from behind the padding's."""
    limit = getattr(model.config, "max_position_embeddings", None) or _DEFAULT_MAX_TOKENS
    padding = getattr(getattr(getattr(model, "embeddings", None), "position_embeddings", None), "padding_idx", None)
    return int(limit) if padding is None else int(limit) - padding - 1


def _try_out(encoder: Encoder, folder: Path) -> None:
    try:
        vectors = encoder.encode(["a red dress", ""])
    except Exception as error:  # an architecture that is no text encoder raises whatever its forward pass raises
        raise ConfigurationError(f"the model in {folder} encodes no text ({type(error).__name__}: {_first_line(error)})") from error
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3):
        raise ConfigurationError(f"the model in {folder} gives no finite vectors; its weights are damaged, or need precision fp32")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"VEILSTREAM_DEVICE={name} is no device; use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"VEILSTREAM_DEVICE={name}, but torch sees no GPU; use auto or cpu")
    return device


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        # bf16 pays on a CPU only where it multiplies it natively.
        return torch.bfloat16 if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else torch.float32
    if precision not in _PRECISIONS:
        raise ConfigurationError(f"VEILSTREAM_PRECISION={precision} is none of auto, {', '.join(_PRECISIONS)}")
    return _PRECISIONS[precision]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]
