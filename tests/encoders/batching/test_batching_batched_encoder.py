"""A model behind its micro-batcher: closed when all is answered, measured by version."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from encoders.batching.batched_encoder import BatchedEncoder
from encoders.batching.cache import VectorCache
from encoders.batching.metrics import EncoderMetrics
from encoders.engines.engine import BatchCounts, Vectors
from encoders.hashing import HashingEncoder


class Version(HashingEncoder):
    """Every number of its vectors says which version it is."""

    def __init__(self, number: int, dimension: int = 8) -> None:
        super().__init__(dimension, f"v{number}")
        self.number = number
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.closed = False

    def encode(self, texts: Sequence[str]) -> Vectors:
        assert not self.closed
        self.begun.set()
        assert self.go.wait(10)
        if any(text == "bad" for text in texts):
            raise ArithmeticError("no vector")
        return np.full((len(texts), self.dimension), self.number, np.float32)

    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, BatchCounts]:
        return self.encode(texts), BatchCounts(3 * len(texts), len(texts))

    def close(self) -> None:
        self.closed = True


async def test_it_closes_the_encoder_when_what_was_accepted_is_answered() -> None:
    encoder = Version(1)
    batched = BatchedEncoder(encoder)
    encoder.go.clear()
    request = asyncio.create_task(batched.encode_many(["a"]))
    await asyncio.to_thread(encoder.begun.wait, 10)
    closing = asyncio.create_task(batched.close())
    await asyncio.sleep(0)
    assert not encoder.closed
    encoder.go.set()
    assert set((await request).ravel()) == {1.0}
    await closing
    assert encoder.closed


async def test_models_of_different_dimension_share_a_bounded_cache() -> None:
    cache = VectorCache(3000)
    first, second = BatchedEncoder(Version(1, 8), cache=cache), BatchedEncoder(Version(2, 16), cache=cache)
    await first.encode_many(["a", "b"])
    assert (await second.encode_many(["a"])).shape == (1, 16)
    assert (first.dimension, second.dimension) == (8, 16)
    assert len(cache) == 3
    for number in range(50):
        await first.encode_many([f"text {number}"])
    assert cache.bytes <= 3000
    await asyncio.gather(first.close(), second.close())


async def test_closed_is_closed() -> None:
    batched = BatchedEncoder(Version(1))
    await batched.close()
    await batched.close()
    with pytest.raises(RuntimeError, match="closed"):
        await batched.encode_many(["a"])


async def test_what_is_measured_is_by_version() -> None:
    metrics = EncoderMetrics(registry := CollectorRegistry())
    cache = VectorCache(10_000)
    first = BatchedEncoder(Version(1), cache=cache, metrics=metrics)
    await first.encode_many(["a", "b", "a"])
    await first.encode_many(["a", "c"])
    with pytest.raises(ArithmeticError):
        await first.encode_many(["bad"])
    second = BatchedEncoder(Version(2), cache=cache, metrics=metrics)
    await second.encode_many(["a"])

    def value(name: str, version: str) -> float | None:
        return registry.get_sample_value(f"veilstream_encoder_{name}", {"model_version": version})

    assert [value(f"{name}_total", "v1") for name in ("texts", "tokens", "padding", "errors")] == [3, 9, 3, 1]
    assert [value(f"cache_{name}_total", "v1") for name in ("hits", "misses")] == [1, 5]
    assert [value(name, "v1") for name in ("batch_texts_count", "batch_texts_sum", "compute_seconds_count")] == [3, 4, 3]
    assert value("queue_wait_seconds_count", "v1") == 4
    assert [value(f"{name}_total", "v2") for name in ("texts", "tokens", "cache_misses")] == [1, 3, 1]
    held = registry.get_sample_value("veilstream_encoder_cache_bytes")
    assert held is not None
    assert held > 0
    infos = [sample.labels for metric in registry.collect() if metric.name == "veilstream_encoder_info" for sample in metric.samples]
    assert infos == [{"model_version": "v2", "engine": "Version"}]
    await asyncio.gather(first.close(), second.close())
