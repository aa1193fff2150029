from __future__ import annotations

import numpy as np
import pytest

from encoders.hashing import HashingEncoder
from streams.errors import ConfigurationError
from streams.models.hotswap.query_vectors import QueryVectors


class Encoder:
    """Encodes by hashing, notes what it was asked for, and can be told to answer wrongly."""

    version, dimension = "hashing", 16

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.spoil: np.ndarray | None = None

    async def encode_many(self, texts: list[str]) -> np.ndarray:
        self.calls.append(list(texts))
        return HashingEncoder(16).encode(texts) if self.spoil is None else self.spoil


async def test_each_text_is_encoded_once() -> None:
    encoder = Encoder()
    vectors = QueryVectors(encoder)
    first = await vectors.lookup(["a", "b", "a"])
    second = await vectors.lookup(["b", "c"])
    assert encoder.calls == [["a", "b"], ["c"]]
    assert first["b"].tolist() == second["b"].tolist() == HashingEncoder(16).encode(["b"])[0].tolist()
    assert await vectors.lookup([]) == {}
    assert len(encoder.calls) == 2


async def test_the_least_recently_asked_is_forgotten_but_never_within_a_lookup() -> None:
    encoder = Encoder()
    vectors = QueryVectors(encoder, capacity=2)
    assert len(await vectors.lookup(["a", "b", "c", "d"])) == 4
    await vectors.lookup(["c"])
    await vectors.lookup(["e"])
    await vectors.lookup(["c", "e"])
    await vectors.lookup(["d"])
    assert encoder.calls == [["a", "b", "c", "d"], ["e"], ["d"]]


async def test_a_text_without_direction_is_left_out() -> None:
    encoder = Encoder()
    encoder.spoil = np.zeros((2, 16), np.float32)
    encoder.spoil[1] = np.nan
    assert await QueryVectors(encoder).lookup(["a", "b"]) == {}


async def test_a_wrong_shape_is_named() -> None:
    encoder = Encoder()
    encoder.spoil = np.zeros((1, 8), np.float32)
    with pytest.raises(ConfigurationError, match="shape"):
        await QueryVectors(encoder).lookup(["a"])
