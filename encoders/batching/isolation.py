"""A batch that fails is split until only the texts that fail are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from encoders.engines.engine import Vectors

Outcome = Vectors | Exception


def encode_each(encode: Callable[[Sequence[str]], Vectors], texts: Sequence[str]) -> list[Outcome]:
    """A vector or an exception for each text, in order. One poisonous text among n costs about 2 · log2(n) more calls."""
    try:
        vectors = list(encode(texts))
        if len(vectors) != len(texts):
            raise ValueError(f"the encoder gave {len(vectors)} vectors for {len(texts)} texts")
        return vectors
    except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the requests that caused it
        if len(texts) == 1:
            return [error]
    middle = len(texts) // 2
    return encode_each(encode, texts[:middle]) + encode_each(encode, texts[middle:])
