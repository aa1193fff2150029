"""Vectors of query texts. All unknown texts of a batch are encoded together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from streams.engine.ports import FloatArray, TextEncoder
from streams.errors import ConfigurationError

DEFAULT_CAPACITY = 10_000


class Space(Protocol):
    """The part of an item matrix that is used here."""

    @property
    def space_number(self) -> int: ...
    def transform(self, vectors: FloatArray, /) -> FloatArray: ...


class QueryVectors:
    """The last texts' vectors, by exact text."""

    def __init__(self, encoder: TextEncoder, capacity: int = DEFAULT_CAPACITY) -> None:
        self._encoder = encoder
        self._capacity = capacity
        self._known: OrderedDict[str, FloatArray] = OrderedDict()
        self._transformed: dict[str, FloatArray] = {}
        self._space_number: int | None = None

    def known(self) -> list[str]:
        """The texts whose vectors are kept, those asked for last first."""
        return list(reversed(self._known))

    async def lookup(self, texts: Iterable[str]) -> dict[str, FloatArray]:
        """The unit vectors of the texts, float32 [dimension]; without those for which the encoder has no direction.

        Raises what the encoder raises, and ConfigurationError if its answer has the wrong shape.
        """
        wanted = list(dict.fromkeys(texts))
        missing = [text for text in wanted if text not in self._known]
        found = {text: self._known[text] for text in wanted if text in self._known}
        for text in found:
            self._known.move_to_end(text)
        if missing:
            encoded = await self._encoder.encode_many(missing)
            if encoded.shape != (len(missing), self._encoder.dimension):
                raise ConfigurationError(
                    f"the encoder gave an array of shape {encoded.shape} for {len(missing)} texts of dimension {self._encoder.dimension}"
                )
            for text, vector in zip(missing, encoded, strict=True):
                found[text] = self._known[text] = np.array(vector, np.float32)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return {text: vector for text, vector in found.items() if 0.99 < float(vector @ vector) < 1.01}

    def transformed(self, found: Mapping[str, FloatArray], matrix: Space) -> dict[str, FloatArray]:
        """Vectors from ``lookup`` in the space of the matrix, each transformed once for as long as that space serves: a product of a
        vector with a matrix costs as much as comparing it with hundreds of items."""
        if matrix.space_number != self._space_number or len(self._transformed) > self._capacity:
            self._transformed, self._space_number = {}, matrix.space_number
        answer = {}
        for text, vector in found.items():
            known = self._transformed.get(text)
            if known is None:
                known = self._transformed[text] = matrix.transform(vector)
            answer[text] = known
        return answer
