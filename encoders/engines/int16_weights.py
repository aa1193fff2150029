"""The weights of a BERT model for the compiled forward pass: 16-bit panels, scales, and the parts that stay float32.

The quantum of a row is chosen by its norm. With ‖a‖ ≤ 32,720 and ‖w‖ ≤ 65,000 quanta (rounding included), every sum of products, and every
part of one, is below 2³¹, by the inequality of Cauchy and Schwarz. A typical number of a row of 384 still has more than 10 bits, of 1,536
more than 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
_NORM = 64_900.0
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Weights:
    """Read-only after construction; shared by all threads."""

    embeddings: tuple[FloatArray, FloatArray, FloatArray, FloatArray, int]
    """Words [words, width]; positions with the only token type added; gain and shift of their norm; the first position's number."""
    layers: npt.NDArray[np.int16]
    """[layers, 12 · width² or so]: query-key-value, output, first and second of the middle layer, each in panels."""
    numbers: FloatArray
    """[layers, ...]: for each product its column scales and bias, and behind the second and the fourth the norm's gain and shift."""
    width: int
    inner: int
    heads: int
    epsilon: float


def unsupported(config: Any) -> str | None:
    """Why a model can't run here, or None. ``config`` is a transformers configuration."""
    if config.model_type not in ("bert", "roberta", "xlm-roberta", "camembert"):
        return f"architecture {config.model_type}"
    if config.hidden_act != "gelu":
        return f"activation {config.hidden_act}"
    if getattr(config, "position_embedding_type", "absolute") not in ("absolute", None):
        return "relative positions"
    if config.hidden_size % 32 or config.intermediate_size % 32 or (config.hidden_size // config.num_attention_heads) % 16:
        return "widths that are no multiples of 32, or heads of 16"
    if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        return "a decoder"
    return None


def read(model: Any, columns: int) -> Weights:
    """From a transformers model in fp32 (see ``unsupported``), for tiles of ``columns`` columns."""
    config = model.config
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    e = model.embeddings
    first = 0 if config.model_type == "bert" else config.pad_token_id + 1
    positions = _array(e.position_embeddings.weight) + _array(e.token_type_embeddings.weight)[0]
    embeddings = (_array(e.word_embeddings.weight), positions, _array(e.LayerNorm.weight), _array(e.LayerNorm.bias), first)
    layers = _aligned((len(model.encoder.layer), 4 * width * width + 2 * width * inner))
    numbers = []
    for layer, panels in zip(model.encoder.layer, layers, strict=True):
        attention, own = layer.attention, layer.attention.self
        scale = np.float32((width // heads) ** -0.5)
        queries = [_array(own.query.weight) * scale, _array(own.key.weight), _array(own.value.weight)]
        biases = [_array(own.query.bias) * scale, _array(own.key.bias), _array(own.value.bias)]
        parts, at = [], 0
        for weight, bias, norm in (
            (np.concatenate(queries), np.concatenate(biases), None),
            (_array(attention.output.dense.weight), _array(attention.output.dense.bias), attention.output.LayerNorm),
            (_array(layer.intermediate.dense.weight), _array(layer.intermediate.dense.bias), None),
            (_array(layer.output.dense.weight), _array(layer.output.dense.bias), layer.output.LayerNorm),
        ):
            quantized, scales = quantize(weight)
            panels[at : at + quantized.size] = panel(quantized, columns)
            at += quantized.size
            parts += [scales, bias]
            if norm is not None:
                parts += [_array(norm.weight), _array(norm.bias)]
        numbers.append(np.concatenate(parts))
    return Weights(embeddings, layers, np.stack(numbers), width, inner, heads, float(config.layer_norm_eps))


def quantize(weight: FloatArray) -> tuple[npt.NDArray[np.int16], FloatArray]:
    """[columns, inner] to int16 of the same shape, and the quantum of each column, float32 [columns]."""
    exact = weight.astype(np.float64)
    quanta = np.maximum(np.linalg.norm(exact, axis=1) / _NORM, np.abs(exact).max(axis=1) / 32767.0)
    quanta = np.where(quanta > 0, quanta, 1.0)
    return np.rint(exact / quanta[:, None]).astype(np.int16), quanta.astype(np.float32)


def panel(weight: npt.NDArray[np.int16], columns: int) -> npt.NDArray[np.int16]:
    """[all columns, inner] to [panel, pair, column, 2], flat."""
    count, inner = weight.shape
    return weight.reshape(count // columns, columns, inner // 2, 2).transpose(0, 2, 1, 3).ravel()


def _aligned(shape: tuple[int, int]) -> npt.NDArray[np.int16]:
    raw = np.zeros(shape[0] * shape[1] * 2 + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + shape[0] * shape[1] * 2].view(np.int16).reshape(shape)


def _array(tensor: Any) -> FloatArray:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())
