"""An encoder for an event loop: it runs in a worker thread, and texts seen before come from a bounded cache."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

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
        missing = list(dict.fromkeys(text for text in texts if text not in self._cache))
        fresh: dict[str, Vectors] = {}
        if missing:
            encoded = await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode, missing)
            fresh = dict(zip(missing, encoded, strict=True))
        result = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vector = fresh.get(text)
            result[row] = vector if vector is not None else self._cache[text]
        self._keep(fresh)
        return result

    def _keep(self, fresh: dict[str, Vectors]) -> None:
        self._cache.update(fresh)
        while len(self._cache) > self._cached_texts:
            self._cache.popitem(last=False)
