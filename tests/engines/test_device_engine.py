"""The engine for accelerators, on a simulated one: overlap, shapes, memory that runs out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from encoders.encoder import Encoder
from encoders.engines import buckets
from encoders.engines.device_engine import DeviceEngine
from encoders.engines.torch_engine import TorchEngine
from streams.errors import ConfigurationError
from tests.support.simulated_device import COMPUTE_S_PER_TOKEN, SimulatedDevice

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


def engine_on(device: SimulatedDevice, budget: int = 1024) -> DeviceEngine:
    return DeviceEngine(MODEL, device, name="device", pooling="mean", padding_id=0, longest=LONGEST, batch_tokens=budget)


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
    assert engine.batch_tokens <= 2048
    again = len(device.shapes)
    engine.forward(rows)
    if room >= 2 * 304:
        assert all(height * width <= room for height, width in device.shapes[again:]), "a budget that was too large isn't tried again"


def test_memory_that_runs_out_halves_the_budget_for_good(caplog: pytest.LogCaptureFixture) -> None:
    device = SimulatedDevice(room=300)
    engine = engine_on(device, budget=1024)
    rows = [[5] * 16] * 64
    vectors, padding = engine.forward(rows)
    assert (engine.batch_tokens, device.freed, padding) == (256, 2, 0)
    assert device.shapes == [(64, 16), (32, 16), *[(16, 16)] * 4]
    assert np.allclose(vectors, exactly(rows), atol=1e-5)
    assert "256 tokens at most" in caplog.text


def test_a_row_that_never_fits_is_a_clear_error() -> None:
    engine = engine_on(SimulatedDevice(room=50), budget=512)
    with pytest.raises(ConfigurationError, match=r"one text of 104 tokens|one text of 112 tokens"):
        engine.forward([[3] * 100])
    # The lane is given back, and what fits is computed as before.
    assert engine.forward([[3] * 10])[0].shape == (1, 16)
    assert engine.forward([[3] * 10])[0].shape == (1, 16)


def makespan(lanes: int, batches: int = 20) -> float:
    device = SimulatedDevice(count=lanes)
    engine = engine_on(device)
    for _ in range(batches):
        engine.forward([[7] * 16] * 64)
    return device.finished_s


def test_two_lanes_copy_while_they_compute() -> None:
    one, two = makespan(1), makespan(2)
    compute = 20 * 1024 * COMPUTE_S_PER_TOKEN
    assert one > 1.9 * compute, "one lane: copies and products one after the other"
    assert two < 0.7 * one
    assert two >= compute


def test_every_lane_is_used_and_only_so_many_batches_are_under_way() -> None:
    device = SimulatedDevice(count=2)
    engine = engine_on(device)
    encoder = Encoder(engine, lambda texts: [[len(text)] * len(text) for text in texts], version="v", token_budget=1024)
    texts = ["x" * (1 + n % 60) for n in range(300)]
    vectors = encoder.encode(texts)
    assert np.allclose(vectors, exactly([[len(text)] * len(text) for text in texts]), atol=1e-5)
    assert [lane.uses > 0 for lane in device.lanes] == [True, True]
    encoder.close()


def test_many_batches_have_few_shapes() -> None:
    device = SimulatedDevice()
    engine = engine_on(device, budget=2048)
    encoder = Encoder(engine, lambda texts: [[1] * int(text) for text in texts], version="v", token_budget=2048)
    generator = np.random.default_rng(1)
    padding = tokens = 0
    for _ in range(60):
        texts = [str(n) for n in generator.integers(1, LONGEST + 1, generator.integers(1, 400))]
        _, counts = encoder.encode_counted(texts)
        padding, tokens = padding + counts.padding, tokens + counts.tokens
    assert len(device.shapes) > 1000
    assert len(set(device.shapes)) <= 80
    assert padding / (padding + tokens) < 0.15
    encoder.close()


@given(lengths=st.lists(st.integers(1, 512), min_size=1))
def test_widths(lengths: list[int]) -> None:
    array = np.array(lengths)
    found = buckets.widths(array, 512)
    assert (found >= array).all()
    assert (found - array <= np.maximum(7, found // 4)).all()
    assert (buckets.widths(found, 512) == found).all()
    assert (buckets.widths(array, 500)[array <= 500] <= 500).all()


def test_there_are_few_widths() -> None:
    assert len(set(buckets.widths(np.arange(1, 513), 512).tolist())) == 20


@given(count=st.integers(1, 1000), spare=st.integers(0, 1000))
def test_rows(count: int, spare: int) -> None:
    most = count + spare
    rows = buckets.rows_to(count, most)
    assert count <= rows <= min(most, 2 * count)
    assert rows == most or rows < 1.5 * count + 1
