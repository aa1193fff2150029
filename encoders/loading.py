"""Loads a model from its folder and checks that it works. Safetensors only, no remote code."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from encoders.encoder import Encoder
from encoders.engines.engine import Engine
from encoders.engines.int16_weights import unsupported
from encoders.engines.selection import TEXTS, Trial, attempt, fastest
from encoders.engines.torch_engine import TorchEngine
from encoders.errors import UnusableError
from encoders.folder import check_files, locate, read_json, sentence_config, version
from encoders.tokens import Tokens

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOG = logging.getLogger(__name__)
DEFAULT_MAX_TOKENS = 256
"""Where neither the model nor its sentence-transformers files say."""


def load(name_or_path: str, *, device: str, precision: str, token_budget: int, compile_graphs: bool = False) -> Encoder:
    """See ``encoders.load_encoder``."""
    target = _device(device)
    if precision != "auto":
        _check_precision(precision, target)
    folder = locate(name_or_path)
    weights = check_files(folder)
    config = sentence_config(folder)
    tokenizer, model = read_model(folder, _DTYPES.get(precision, torch.float32))
    max_tokens = min(config.max_tokens or DEFAULT_MAX_TOKENS, positions(model), tokenizer.model_max_length)
    if getattr(model, "pooler", None) is not None and hasattr(model.pooler, "dense"):
        model.pooler = None  # BERT's pooler is not used: its weights and its product are left out
    parts = _Parts(
        model=model.eval().to(target),
        pooling=config.pooling,
        padding_id=tokenizer.pad_token_id or 0,
        tokens=Tokens(tokenizer, max_tokens=max_tokens, lower_case=config.lower_case, prompt=config.prompt),
        longest=max_tokens,
        version=version(folder, weights, config, max_tokens),
        token_budget=token_budget,
        compile_graphs=compile_graphs,
    )
    encoder = parts.encoder("fp32" if precision in ("auto", "int16") else precision)
    _try_out(encoder, folder)
    if precision == "int16":
        reason = unsupported(model.config)
        if reason is not None:
            raise UnusableError(f"VEILSTREAM_PRECISION=int16 is for BERT and RoBERTa, and {folder} has {reason}; use auto or fp32")
        chosen = _replaced(encoder, parts.encoder("int16"))
        chosen.encode(TEXTS)  # compiles, for which an event loop could not wait
        return chosen
    return _fastest(encoder, parts, target) if precision == "auto" else encoder


@dataclass(frozen=True, slots=True)
class _Parts:
    """All that an encoder of this model is made of, whatever computes it."""

    model: Any
    """In fp32, or in the one precision asked for."""
    pooling: str
    padding_id: int
    tokens: Tokens
    longest: int
    """Tokens."""
    version: str
    token_budget: int
    compile_graphs: bool
    """On a GPU."""

    def encoder(self, precision: str, trials: Sequence[Trial] = ()) -> Encoder:
        """Raises ImportError for int16 where the processor has no instructions for it."""
        engine: Engine
        if precision == "int16":
            from encoders.engines.int16_engine import Int16Engine

            engine = Int16Engine(self.model, pooling=self.pooling, lanes=torch.get_num_threads(), token_budget=self.token_budget)
        else:
            dtype = _DTYPES[precision]
            model = self.model if self.model.dtype == dtype else deepcopy(self.model).to(dtype)
            device = next(model.parameters()).device
            common: dict[str, Any] = {"name": f"torch-{precision}", "pooling": self.pooling, "padding_id": self.padding_id}
            if device.type == "cuda":
                from encoders.engines.device_engine import DeviceEngine
                from encoders.engines.torch_device import TorchDevice

                backend = "inductor" if self.compile_graphs else None
                engine = DeviceEngine(
                    model, TorchDevice(device), longest=self.longest, token_budget=self.token_budget, compiled=backend, **common
                )
            else:
                engine = TorchEngine(model, batch_tokens=self.token_budget, **common)
        return Encoder(engine, self.tokens, version=self.version, trials=trials)


def _fastest(reference: Encoder, parts: _Parts, device: torch.device) -> Encoder:
    """Tries what may be faster than fp32 here; the rest is freed."""
    expected = reference.encode(TEXTS)
    encoders = {"fp32": reference}
    for precision in _worth_trying(parts.model.config, device):
        try:
            encoders[precision] = parts.encoder(precision)
        except ImportError as error:
            _LOG.info("the %s engine is not used: %s", precision, error)
    if len(encoders) == 1:
        return reference
    trials = [attempt(precision, one.encode, expected, is_reference=one is reference) for precision, one in encoders.items()]
    best = fastest(trials)
    for precision, encoder in encoders.items():
        if precision != best:
            encoder.close()
    encoders[best].trials = tuple(trials)
    return encoders[best]


def _worth_trying(config: Any, device: torch.device) -> list[str]:
    if device.type == "cuda":
        return ["bf16", "fp16"] if torch.cuda.is_bf16_supported() else ["fp16"]
    # bf16 pays on a CPU only where it multiplies it natively.
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return [*(["int16"] if unsupported(config) is None else []), *(["bf16"] if native else [])]


def _replaced(old: Encoder, new: Encoder) -> Encoder:
    old.close()
    return new


def read_model(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and model. Raises UnusableError if the files are damaged or do not belong together."""
    quiet: Any = transformers_logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        tokenizer = _plain_tokenizer(folder) or AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
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
        # The files come from outside. The errors for damaged files are not documented (tokenizers raises a bare Exception).
        raise UnusableError(f"the model in {folder} can't be loaded ({type(error).__name__}: {_first_line(error)})") from error
    # transformers fills what is missing with random numbers. The pooler is left out anyway.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise UnusableError(
            f"the weights in {folder} lack {len(missing)} tensors that its config.json asks for ({missing[0]}, ...); "
            "copy weights and config.json from one source"
        )
    words = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > words:
        raise UnusableError(f"the tokenizer in {folder} knows {len(tokenizer)} tokens, the model {words}; copy both from one source")
    return tokenizer, model


def _plain_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder whose tokenizer.json says everything, read directly; None for another kind. With 250,000 pieces this is
    three times as fast as transformers' own way, which a worker's start waits for."""
    path, config = folder / "tokenizer.json", folder / "tokenizer_config.json"
    settings = read_json(config, dict) if path.is_file() else {}
    if settings.get("tokenizer_class") != "PreTrainedTokenizerFast" or type(settings.get("model_max_length")) is not int:
        return None
    special = {name: value for name, value in settings.items() if name.endswith("_token") and isinstance(value, str)}
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=Tokenizer.from_file(str(path)), model_max_length=settings["model_max_length"], **special)


def positions(model: Any) -> int:
    """How many tokens the model has positions for. RoBERTa's family numbers them from behind the padding's."""
    limit = getattr(model.config, "max_position_embeddings", None) or DEFAULT_MAX_TOKENS
    padding = getattr(getattr(getattr(model, "embeddings", None), "position_embeddings", None), "padding_idx", None)
    return int(limit) if padding is None else int(limit) - padding - 1


def _try_out(encoder: Encoder, folder: Path) -> None:
    try:
        vectors = encoder.encode(["a red dress", ""])
    except Exception as error:  # an architecture that is no text encoder raises whatever its forward pass raises
        raise UnusableError(f"the model in {folder} encodes no text ({type(error).__name__}: {_first_line(error)})") from error
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3):
        raise UnusableError(f"the model in {folder} gives no finite vectors; its weights are damaged, or need precision fp32")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnusableError(f"VEILSTREAM_DEVICE={name} is no device; use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnusableError(f"VEILSTREAM_DEVICE={name}, but torch sees no GPU; use auto or cpu")
    return device


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "int16" and device.type != "cpu":
        raise UnusableError("VEILSTREAM_PRECISION=int16 is for CPUs; use auto, bf16 or fp16 on a GPU")
    if precision != "int16" and precision not in _DTYPES:
        raise UnusableError(f"VEILSTREAM_PRECISION={precision} is none of auto, int16, {', '.join(_DTYPES)}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]
