"""What every engine must do, with small random models and the bundled one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from encoders import load_encoder
from encoders.engines.device_engine import DeviceEngine
from encoders.engines.engine import Engine
from encoders.engines.int16_engine import Int16Engine
from encoders.engines.int16_weights import panel, quantize, unsupported
from encoders.engines.torch_engine import TorchEngine
from encoders.errors import UnusableError
from encoders.kernels.int16_tile import shape_of
from tests.support.simulated_device import SimulatedDevice

SIZES = {"vocab_size": 120, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
BUILDERS: dict[str, Any] = {
    "bert": lambda: BertModel(BertConfig(max_position_embeddings=96, **SIZES), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(RobertaConfig(max_position_embeddings=98, pad_token_id=1, **SIZES), add_pooling_layer=False),
}
ENGINES = ["torch", "int16", "device"]


def small_model(kind: str) -> Any:
    torch.manual_seed(7)
    return BUILDERS[kind]().eval()


def engine_of(name: str, model: Any, pooling: str = "mean") -> Engine:
    if name == "int16":
        return Int16Engine(model, pooling=pooling, lanes=2)
    if name == "device":
        return DeviceEngine(
            model,
            SimulatedDevice(),
            name="device",
            pooling=pooling,
            padding_id=model.config.pad_token_id,
            longest=96,
            token_budget=512,
        )
    return TorchEngine(model, name="torch-fp32", pooling=pooling, padding_id=model.config.pad_token_id, batch_tokens=2048)


def plainly(model: Any, row: list[int], pooling: str) -> Any:
    """By the library alone: one text, no padding, no mask."""
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([row])).last_hidden_state[0]
    pooled = hidden[0] if pooling == "cls" else hidden.mean(0)
    return torch.nn.functional.normalize(pooled, dim=0).numpy()


@pytest.fixture(
    scope="module", params=[(kind, name, pooling) for kind in BUILDERS for name in ENGINES for pooling in ("mean", "cls")], ids=str
)
def case(request: pytest.FixtureRequest) -> tuple[Any, Engine, str]:
    kind, name, pooling = request.param
    model = small_model(kind)
    return model, engine_of(name, model, pooling), pooling


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.lists(st.integers(2, 119), min_size=1, max_size=96), min_size=1, max_size=12))
@pytest.mark.slow
def test_the_library_gives_the_same_vectors(case: tuple[Any, Engine, str], rows: list[list[int]]) -> None:
    model, engine, pooling = case
    vectors, padding = engine.forward(rows)
    expected = np.stack([plainly(model, row, pooling) for row in rows])
    assert vectors.dtype == np.float32
    assert padding >= 0
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * expected).sum(1).min() > 1 - 2e-5


@pytest.mark.parametrize("name", ENGINES)
def test_several_threads_at_once(name: str) -> None:
    engine = engine_of(name, small_model("bert"))
    generator = np.random.default_rng(3)
    batches = [[generator.integers(0, 120, generator.integers(1, 90)).tolist() for _ in range(20)] for _ in range(24)]
    one_by_one = [engine.forward(batch)[0] for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda batch: engine.forward(batch)[0], batches))
    for alone, shared in zip(one_by_one, together, strict=True):
        assert np.allclose(alone, shared, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "said"), [([[5], [120]], "0 to 119"), ([[-1]], "0 to 119"), ([[5] * 97], "1 to 96"), ([[4], []], "1 to 96")]
)
def test_compiled_code_never_reads_beside_its_tables(rows: list[list[int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Int16Engine(small_model("bert"), pooling="mean", lanes=1).forward(rows)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e4), st.booleans())
def test_no_sum_of_products_overflows(seed: int, size: float, spiked: bool) -> None:
    generator = np.random.default_rng(seed)
    weight = (generator.standard_normal((16, 256)) * size).astype(np.float32)
    if spiked:
        weight[0], weight[1, 7] = 0, 1e3 * size
        weight[2] = size
    quantized, quanta = quantize(weight)
    norms = np.linalg.norm(quantized.astype(np.float64), axis=1)
    assert (norms * 32_720 < 2**31).all(), "a row of activations has a norm of at most 32,720 quanta"
    assert (np.abs(quantized * quanta[:, None].astype(np.float64) - weight) <= quanta[:, None] * 0.51).all()
    panels = panel(quantized, 16).reshape(1, 128, 16, 2)
    assert np.array_equal(panels[0, :, 3, :].ravel(), quantized[3])


def test_tiles_for_processors() -> None:
    assert shape_of({"sse4.2": True}) is None
    names = [
        getattr(shape_of(dict.fromkeys(features, True)), "name", None)
        for features in (["avx2"], ["avx2", "avxvnni"], ["avx2", "avx512bw"], ["avx2", "avx512bw", "avx512vnni"])
    ]
    assert names == ["avx2", "avxvnni", "avx512", "avx512vnni"]


def test_what_the_compiled_pass_does_not_know() -> None:
    assert unsupported(BertConfig(**SIZES)) is None
    for change in ({"hidden_act": "relu"}, {"hidden_size": 48}, {"num_attention_heads": 8}, {"is_decoder": True}):
        assert unsupported(BertConfig(**{**SIZES, **change})) is not None


TEXTS = ["red scarf", "", "x", "无线蓝牙耳机 主动降噪", "🙂👍🏽", "a\ud800b", "mixed 语言 текст ok", "long " * 20_000]


@pytest.mark.slow
def test_the_default_is_exact_alone_and_in_a_batch() -> None:
    exact, encoder = load_encoder("bundled-en", precision="fp32"), load_encoder("bundled-en")
    expected = exact.encode(TEXTS)
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    for vectors in (together, alone):
        assert 1 - (vectors * expected).sum(1).min() < 1e-5
    trials = {trial.name: trial for trial in encoder.trials}  # type: ignore[attr-defined]
    assert trials["fp32"].error < 1e-6
    assert {"fp32", "int16"} <= set(trials)


def test_precisions_by_name(tmp_path: Any) -> None:
    vectors = {precision: load_encoder("bundled-en", precision=precision).encode(TEXTS[:4]) for precision in ("fp32", "int16", "bf16")}
    assert 1 - (vectors["fp32"] * vectors["int16"]).sum(1).min() < 1e-5
    assert 1e-7 < 1 - (vectors["fp32"] * vectors["bf16"]).sum(1).min() < 1e-3
    with pytest.raises(UnusableError, match="none of auto, int16, fp32"):
        load_encoder("bundled-en", precision="int3")
