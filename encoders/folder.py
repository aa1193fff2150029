"""The folder of a model: its place, the files that decide its vectors, and their content. No torch, no weights in memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from encoders.bundled import BUNDLED, bundled_folder
from encoders.errors import UnusableError, require
from encoders.files import TEXT_BYTES, read_within

_PICKLES = ("pytorch_model.bin", "model.pt", "model.pth", "pytorch_model.pt")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
SERVED_WITH = "serving.json"
"""A note of what a model is served with. Nothing reads it; it makes of the same weights, weighed otherwise, a version of its own."""
RANKER = "ranker/ranker.safetensors"
"""What ranks the items that the encoder finds. It belongs to the version as the weights do, and the encoder does not read it."""
_DECIDING = ("config.json", "tokenizer_config.json", "merges.txt", SERVED_WITH, RANKER, *_TOKENIZERS)
_NOT_COPIED = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.pt", "*.pth", "*.h5", "*.onnx", "*.msgpack"),
    *("README.md", ".git*", "onnx", "openvino"),
)
_OFFERED_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class SentenceConfig:
    """How token vectors become a text's vector. Plain BERT folders say nothing and get the mean."""

    pooling: str = "mean"
    """mean or cls."""
    max_tokens: int | None = None
    lower_case: bool = False
    prompt: str = ""
    """What the model wants before every text."""


def locate(name_or_path: str) -> Path:
    """The folder of a model by name; a hub id is fetched, unless Hugging Face's own HF_HUB_OFFLINE forbids it.

    Raises UnusableError if there is none.
    """
    if name_or_path in BUNDLED:
        return bundled_folder(name_or_path)
    if "://" in name_or_path:  # which may hold a password or token
        raise UnusableError(
            "a model is named by a folder or its name on the hub, not by a URL; set VEILSTREAM_MODEL to one, or to `bundled`"
        )
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name_or_path.startswith("."):
        raise UnusableError(f"there is no model folder {name_or_path}; set VEILSTREAM_MODEL to one, or to `bundled`")
    require("model", "huggingface_hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name_or_path, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UnusableError(
            f"model {name_or_path!r} is neither a folder nor to be had from the model hub ({type(error).__name__}); "
            "set VEILSTREAM_MODEL to a folder, or to `bundled`"
        ) from None


def check_files(folder: Path) -> list[Path]:
    """The weights. Raises UnusableError if config, safetensors weights or tokenizer are missing."""
    if not (folder / "config.json").is_file():
        raise UnusableError(f"{folder} holds no model: config.json is missing")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [name for name in _PICKLES if (folder / name).exists()]
        why = f"only {pickles[0]}, a pickle, which may run code when loaded; convert it to safetensors" if pickles else "no *.safetensors"
        raise UnusableError(f"{folder} holds {why}")
    # transformers would make up an empty tokenizer, for which all texts are alike.
    if not any(True for pattern in _TOKENIZERS for _ in folder.glob(pattern)):
        raise UnusableError(f"{folder} holds no tokenizer ({', '.join(_TOKENIZERS)}); copy it from the model's source")
    return weights


def sentence_config(folder: Path) -> SentenceConfig:
    """The settings in the sentence-transformers files next to the weights, if there are any.

    Raises UnusableError for a setting that is not supported, because ignoring it would give wrong vectors.
    """
    pooling: dict[str, Any] = {}
    for module in read_json(folder / "modules.json", list):
        if not isinstance(module, dict):
            raise UnusableError(f"{folder / 'modules.json'} is not a list of modules")
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _OFFERED_MODULES:
            raise UnusableError(f"the model in {folder} has a {kind} module; only {', '.join(_OFFERED_MODULES)} are offered")
        if kind == "Pooling":
            pooling = read_json(folder / str(module.get("path", "")) / "config.json", dict)
    transformer = read_json(folder / "sentence_bert_config.json", dict)
    max_tokens = transformer.get("max_seq_length")
    if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 3):
        raise UnusableError(f"{folder / 'sentence_bert_config.json'}: max_seq_length must be a whole number from 3, or null")
    _check_dimension(folder, pooling)
    return SentenceConfig(_pooling(folder, pooling), max_tokens, bool(transformer.get("do_lower_case")), _prompt(folder))


@contextmanager
def without_weights(source: Path, target: Path) -> Iterator[Path]:
    """A folder with all that a model's folder holds beside its weights, into which others are to be written; at the end it is ``target``,
    unless an error ended it: complete or not at all.

    Raises UnusableError if ``target`` is there already.
    """
    if target.exists():
        raise UnusableError(f"{target} is there already; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        shutil.copytree(source, part, ignore=shutil.ignore_patterns(*_NOT_COPIED), dirs_exist_ok=True)
        yield part
        part.replace(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def version(folder: Path, weights: list[Path], config: SentenceConfig, max_tokens: int) -> str:
    """Twelve hexadecimal characters of every byte that may decide a vector, whatever the precision it is computed in.

    Rather once too often another version, and a catalogue encoded again, than vectors of two models in one matrix.
    """
    digest = hashlib.sha256(f"{config.pooling}/{config.lower_case}/{max_tokens}/{config.prompt}".encode())
    for path in [*weights, *sorted({path for pattern in _DECIDING for path in folder.glob(pattern)})]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _pooling(folder: Path, config: dict[str, Any]) -> str:
    """sentence-transformers wrote one flag a mode first, and one name later."""
    modes = {key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on is True}
    if isinstance(config.get("pooling_mode"), str):
        modes.add(config["pooling_mode"])
    if not config or modes in ({"mean_tokens"}, {"mean"}):
        return "mean"
    if modes in ({"cls_token"}, {"cls"}):
        return "cls"
    raise UnusableError(f"the pooling of the model in {folder} is neither mean nor CLS alone; choose another model")


def _check_dimension(folder: Path, pooling: dict[str, Any]) -> None:
    stated, real = pooling.get("word_embedding_dimension"), read_json(folder / "config.json", dict).get("hidden_size")
    if stated is not None and real is not None and stated != real:
        raise UnusableError(
            f"the files in {folder} are of different models: the pooling wants {stated} dimensions, the model has {real}; "
            "copy all of them from one source"
        )


def _prompt(folder: Path) -> str:
    config = read_json(folder / "config_sentence_transformers.json", dict)
    name = config.get("default_prompt_name")
    if name is None:
        return ""
    prompt = (config.get("prompts") or {}).get(name)
    if not isinstance(prompt, str):
        raise UnusableError(f"{folder / 'config_sentence_transformers.json'} names a prompt {name!r} that it does not hold")
    return prompt


def read_json(path: Path, kind: type) -> Any:
    """The JSON of a file, empty if there is none. Raises UnusableError if it is something else, or too long for a model's."""
    if not path.is_file():
        return kind()
    try:
        found = json.loads(read_within(path, TEXT_BYTES))
    except (ValueError, RecursionError):
        raise UnusableError(f"{path} is no JSON; copy it again from the model's source") from None
    except OSError as error:
        raise UnusableError(f"{path} can't be read ({error.strerror}); copy it again from the model's source") from None
    if not isinstance(found, kind):
        raise UnusableError(f"{path} must hold a JSON {'list' if kind is list else 'object'}")
    return found
