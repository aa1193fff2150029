"""The slot: requests in flight keep their version, all requests are answered, the old encoder is closed when it has answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from encoders.batching.cache import VectorCache
from encoders.batching.metrics import EncoderMetrics
from encoders.batching.slot import EncoderSlot
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


async def test_a_request_in_flight_keeps_its_version() -> None:
    first, second = Version(1), Version(2)
    slot = EncoderSlot(first)
    first.go.clear()
    before = asyncio.create_task(slot.encode_with_version([f"text {n}" for n in range(600)]))
    await asyncio.to_thread(first.begun.wait, 10)
    replacing = asyncio.create_task(slot.replace(second))
    await asyncio.sleep(0)
    assert slot.version == "v2"
    vectors, version = await slot.encode_with_version(["text 1"])
    assert (version, set(vectors.ravel())) == ("v2", {2.0})
    assert not first.closed
    first.go.set()
    vectors, version = await before
    assert (version, set(vectors.ravel())) == ("v1", {1.0})
    await replacing
    assert first.closed
    assert not second.closed
    await slot.close()
    assert second.closed


async def test_a_storm_of_requests_over_many_replacements() -> None:
    slot = EncoderSlot(Version(0), max_batch_texts=8, max_waiting_texts=64)
    encoders = [Version(number) for number in range(1, 30)]
    versions: set[str] = set()

    async def ask(caller: int) -> None:
        for number in range(60):
            texts = [f"{caller} {number} {n}" for n in range(caller % 7 + 1)] + ["shared"]
            vectors, version = await slot.encode_with_version(texts)
            assert set(vectors.ravel()) == {float(version[1:])}, "one version, all of it"
            versions.add(version)

    async def swap() -> None:
        for encoder in encoders:
            await slot.replace(encoder)
            await asyncio.sleep(0.002)

    await asyncio.gather(swap(), *(ask(caller) for caller in range(32)))
    assert len(versions) > 5
    assert all(encoder.closed for encoder in encoders[:-1])
    await slot.close()


async def test_versions_may_differ_in_dimension_and_share_a_bounded_cache() -> None:
    cache = VectorCache(3000)
    slot = EncoderSlot(Version(1, 8), cache=cache)
    await slot.encode_many(["a", "b"])
    await slot.replace(Version(2, 16))
    assert (await slot.encode_many(["a"])).shape == (1, 16)
    assert slot.dimension == 16
    assert len(cache) == 3
    for number in range(50):
        await slot.encode_many([f"text {number}"])
    assert cache.bytes <= 3000
    await slot.close()


async def test_closed_is_closed() -> None:
    slot = EncoderSlot(Version(1))
    await slot.close()
    await slot.close()
    with pytest.raises(RuntimeError, match="closed"):
        await slot.encode_many(["a"])
    spare = Version(2)
    with pytest.raises(RuntimeError, match="closed"):
        await slot.replace(spare)
    assert not spare.closed


async def test_a_cancelled_replacement_still_closes_the_old_encoder() -> None:
    first = Version(1)
    slot = EncoderSlot(first)
    first.go.clear()
    request = asyncio.create_task(slot.encode_many(["a"]))
    await asyncio.to_thread(first.begun.wait, 10)
    replacing = asyncio.create_task(slot.replace(Version(2)))
    await asyncio.sleep(0)
    replacing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await replacing
    first.go.set()
    await request
    await slot.close()
    assert first.closed


async def test_what_is_measured_is_by_version() -> None:
    registry = CollectorRegistry()
    slot = EncoderSlot(Version(1), metrics=EncoderMetrics(registry))
    await slot.encode_many(["a", "b", "a"])
    await slot.encode_many(["a", "c"])
    with pytest.raises(ArithmeticError):
        await slot.encode_many(["bad"])
    await slot.replace(Version(2))
    await slot.encode_many(["a"])

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
    await slot.close()
