"""An encoder for an event loop: it runs in a worker thread, and texts seen before come from a bounded cache."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from encoders.texts import check_texts

Vectors = npt.NDArray[np.float32]


class EncodesTexts(Protocol):
    """What is wrapped: ``Encoder``, or a small one in tests."""

    version: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors: ...


class AsyncEncoder:
    """``encode_many`` from any task; calls are encoded one after the other, so the loop never waits for the model."""

    def __init__(self, encoder: EncodesTexts, *, cached_texts: int = 20_000) -> None:
        self._encoder = encoder
        self._cached_texts = cached_texts
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self.version = encoder.version
        self.dimension = encoder.dimension

    async def encode_many(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, dimension], unit length, in input order. Raises what the encoder raises."""
        check_texts(texts)
        # Taken out before anything is awaited: meanwhile another task may push them out of the cache.
        vectors = {text: self._cache[text] for text in texts if text in self._cache}
        missing = list(dict.fromkeys(text for text in texts if text not in vectors))
        if missing:
            encoded = await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode, missing)
            # Copies: a view of one row would keep the whole batch's array alive.
            vectors |= {text: row.copy() for text, row in zip(missing, encoded, strict=True)}
        self._keep(vectors)
        result = np.empty((len(texts), self.dimension), dtype=np.float32)
        for place, text in enumerate(texts):
            result[place] = vectors[text]
        return result

    def _keep(self, vectors: dict[str, Vectors]) -> None:
        """Least recently used texts go first."""
        for text, vector in vectors.items():
            self._cache[text] = vector
            self._cache.move_to_end(text)
        while len(self._cache) > self._cached_texts:
            self._cache.popitem(last=False)
