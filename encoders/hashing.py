"""An encoder without weights: hashed character n-grams. For tests, and for trying the flow without a model."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import numpy.typing as npt

from encoders.engines.engine import BatchCounts, Vectors


class HashingEncoder:
    """Deterministic unit vectors; texts that share character trigrams are similar."""

    def __init__(self, dimension: int = 64, version: str = "hashing") -> None:
        self.dimension = dimension
        self.version = version

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 [n, dimension], unit length, in input order."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            padded = f" {text.lower()} "
            for start in range(max(1, len(padded) - 2)):
                code = crc32(padded[start : start + 3].encode("utf-8", "ignore"))
                vectors[row, code % self.dimension] += 1.0 if code & 0x80000000 else -1.0
            if not vectors[row].any():
                vectors[row, 0] = 1.0
        unit: npt.NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, BatchCounts]:
        """``encode``; there are no tokens here."""
        return self.encode(texts), BatchCounts(0, 0)

    def close(self) -> None:
        """Nothing is held."""
