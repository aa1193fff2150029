"""The engine for accelerators, on a simulated one and on torch's streams of the CPU: overlap, shapes, memory that runs out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from encoders.encoder import Encoder
from encoders.engines.device import Device
from encoders.engines.device_engine import DeviceEngine
from encoders.engines.torch_device import TorchDevice
from encoders.engines.torch_engine import TorchEngine
from encoders.errors import UnusableError
from tests.support.simulated_device import COMPUTE_S_PER_POSITION, SimulatedDevice

LONGEST = 300


def model() -> Any:
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LONGEST,
    )
    return BertModel(config, add_pooling_layer=False).eval()


MODEL = model()


def engine_on(device: Device, budget: int = 1024, lanes: int = 2, **more: Any) -> DeviceEngine:
    class Lanes(DeviceEngine):
        pass

    Lanes.lanes = lanes
    return Lanes(MODEL, device, name="device", pooling="mean", padding_id=0, longest=LONGEST, token_budget=budget, **more)


def rows_of(seed: int, count: int, longest: int = 60) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 100, generator.integers(1, longest + 1)).tolist() for _ in range(count)]


def exactly(rows: list[list[int]]) -> Any:
    return TorchEngine(MODEL, name="torch", pooling="mean", padding_id=0, batch_tokens=1024).forward(rows)[0]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000), count=st.integers(1, 40), room=st.sampled_from([304, 400, 800, 10**9]), longest=st.sampled_from([8, 60, 300])
)
def test_vectors_are_right_however_little_memory_there_is(seed: int, count: int, room: int, longest: int) -> None:
    device = SimulatedDevice(room=room)
    engine = engine_on(device, budget=2048)
    rows = rows_of(seed, count, longest)
    vectors, padding = engine.forward(rows)
    assert np.allclose(vectors, exactly(rows), atol=1e-5)
    assert padding >= 0
    again = len(device.shapes)
    engine.forward(rows)
    if room >= 2 * LONGEST:
        assert all(height * width <= room for height, width in device.shapes[again:]), "a budget that was too large isn't tried again"


def test_memory_that_runs_out_halves_the_budget_for_good(caplog: pytest.LogCaptureFixture) -> None:
    device = SimulatedDevice(room=600)
    engine = engine_on(device, budget=2048)
    rows = [[5] * 16] * 128
    vectors, padding = engine.forward(rows)
    assert device.shapes == [(128, 16), (64, 16), *[(32, 16)] * 4]
    assert (device.freed, padding) == (2, 0)
    assert np.allclose(vectors, exactly(rows), atol=1e-5)
    assert "simulated:0 is out of memory; VEILSTREAM_ENCODER_TOKEN_BUDGET is taken as 512" in caplog.text


def test_lanes_that_fail_together_halve_the_budget_once() -> None:
    device = SimulatedDevice(room=600)
    engine = engine_on(device, budget=1024)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(engine.forward, [[[5] * 16] * 64] * 2))
    assert max(rows * width for rows, width in device.shapes[-2:]) == 512


def test_a_row_that_never_fits_is_a_clear_error_and_others_are_computed() -> None:
    engine = engine_on(SimulatedDevice(room=300), budget=512)
    with pytest.raises(UnusableError, match=r"a text of 300 tokens does not fit .* simulated:0"):
        engine_on(SimulatedDevice(room=250), budget=512).forward([[3] * 300])
    for _ in range(3):  # the lane is given back
        assert engine.forward([[3] * 10])[0].shape == (1, 16)


def makespan(lanes: int, calls: int = 20) -> float:
    device = SimulatedDevice()
    engine = engine_on(device, lanes=lanes)
    for _ in range(calls):
        engine.forward([[7] * 16] * 64)
    return device.finished_s


def test_two_lanes_copy_while_they_compute() -> None:
    one, two = makespan(1), makespan(2)
    compute = 20 * 1024 * COMPUTE_S_PER_POSITION
    assert one > 1.05 * compute, "one lane: copies and passes one after the other"
    assert two < 1.02 * compute + 0.05 * (one - compute) + one / 20
    assert compute <= two < one


def test_every_lane_is_used() -> None:
    device = SimulatedDevice()
    encoder = Encoder(engine_on(device), lambda texts: [[len(text)] * len(text) for text in texts], version="v")
    texts = ["x" * (1 + n % 60) for n in range(300)]
    vectors = encoder.encode(texts)
    assert np.allclose(vectors, exactly([[len(text)] * len(text) for text in texts]), atol=1e-5)
    assert len(device.streams) == 2
    encoder.close()


@pytest.mark.slow
def test_many_batches_have_few_shapes() -> None:
    device = SimulatedDevice()
    encoder = Encoder(engine_on(device, budget=2048), lambda texts: [[1] * int(text) for text in texts], version="v")
    generator = np.random.default_rng(1)
    padding = tokens = 0
    for _ in range(60):
        texts = [str(n) for n in generator.integers(1, LONGEST + 1, generator.integers(1, 400))]
        _, counts = encoder.encode_counted(texts)
        padding, tokens = padding + counts.padding, tokens + counts.tokens
    assert len(device.shapes) > 1000
    assert len(set(device.shapes)) <= 36
    assert padding / (padding + tokens) < 0.4
    encoder.close()


@pytest.mark.parametrize(
    "make",
    [SimulatedDevice, lambda: TorchDevice(torch.device("cpu"))],
    ids=["simulated", "torch"],
)
def test_a_failing_pass_leaves_the_lanes_in_order(make: Callable[[], Any]) -> None:
    engine = engine_on(make())
    for wrong, said in (([[5], [100]], "0 to 99"), ([[5] * 301], "1 to 300"), ([[4], []], "1 to 300")):
        with pytest.raises(ValueError, match=said):
            engine.forward(wrong)
    rows = rows_of(2, 30)
    assert np.allclose(engine.forward(rows)[0], exactly(rows), atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 60))
def test_torch_streams_give_the_same(seed: int, count: int) -> None:
    """The very class that a GPU gets, on the CPU's streams."""
    rows = rows_of(seed, count)
    assert np.allclose(engine_on(TorchDevice(torch.device("cpu"))).forward(rows)[0], exactly(rows), atol=1e-5)


def test_what_torch_says_when_memory_runs_out() -> None:
    device = TorchDevice(torch.device("cpu"))
    assert device.out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert device.out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not device.out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not device.out_of_memory(ValueError("out of memory"))


@pytest.mark.slow
def test_one_compiled_graph_a_shape() -> None:
    graphs: list[tuple[int, ...]] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(tuple(inputs[-1].shape) if hasattr(inputs[-1], "shape") else ())
        return graph.forward

    device = SimulatedDevice()
    engine = engine_on(device, compiled=backend)
    rows = rows_of(4, 50)
    first = engine.forward(rows)[0]
    captured = len(graphs)
    assert np.allclose(first, exactly(rows), atol=1e-5)
    assert np.allclose(engine.forward(rows)[0], first, atol=1e-6)
    assert len(graphs) == captured, "the same shapes use the same graphs"
    assert captured <= 2 * len(set(device.shapes))
