"""BERT with products of 16-bit integers: no padding, no synchronisation between cores, each call on one core."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np

from encoders.engines.engine import Vectors
from encoders.engines.int16_weights import Weights, read
from encoders.kernels import int16_forward as kernels

_BATCH_TOKENS = 384
"""A batch's activations then fit into a core's second-level cache (512 KiB and more)."""


class Workspace:
    """What one call writes to; for batches of at most ``tokens`` tokens in rows of at most ``longest``."""

    def __init__(self, weights: Weights, tokens: int, longest: int) -> None:
        def floats(*shape: int) -> Any:
            return np.zeros(shape, np.float32)

        width, inner, block, lanes = weights.width, weights.inner, kernels.BLOCK, kernels.LANES
        rows = -(-tokens // kernels.ROWS) * kernels.ROWS
        beyond = rows + kernels.FLOAT_ROWS  # attention works on whole tiles, and so behind a text's last token
        wide = -(-longest // lanes) * lanes
        self.tokens, self.longest = tokens, longest
        self.arrays = (
            floats(rows, width),
            floats(beyond, width),
            floats(beyond * 3 * width),
            floats(rows * width),
            floats(block, inner),
            np.zeros(max(rows * width, block * inner), np.int16),
            floats(max(rows, block)),
            floats(width // weights.heads * wide),
            floats((longest + kernels.FLOAT_ROWS) * wide),
        )


class Int16Engine:
    """See ``encoders.kernels.int16_forward`` for the arithmetic. The first call on a machine compiles: some seconds, and the result is
    kept on disk."""

    name = "int16"

    def __init__(self, model: Any, *, pooling: str, lanes: int, token_budget: int = _BATCH_TOKENS) -> None:
        """``model`` is a transformers model in fp32 that ``int16_weights.unsupported`` has nothing against; it isn't kept.

        ``token_budget``: most tokens of a call, where that is less than what the caches want.
        """
        self._weights = read(model, kernels.COLUMNS)
        self._cls = pooling == "cls"
        self._free: list[Workspace] = []
        self._lock = Lock()
        self.lanes = lanes
        self.batch_tokens = min(token_budget, _BATCH_TOKENS)
        self.dimension = self._weights.width

    def forward(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, int]:
        """See ``Engine.forward``. Raises ValueError for a token or a length that the model doesn't have."""
        weights = self._weights
        words, positions, _, _, first = weights.embeddings
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        count, longest = int(starts[-1]), int(lengths.max())
        ids = np.fromiter(chain.from_iterable(rows), np.int32, count)
        # Compiled code checks no bounds.
        if lengths.min() < 1 or longest > len(positions) - first:
            raise ValueError(f"rows must have 1 to {len(positions) - first} tokens, not {int(lengths.min())} to {longest}")
        if ids.min() < 0 or ids.max() >= len(words):
            raise ValueError(f"tokens must be from 0 to {len(words) - 1}, not {int(ids.min())} to {int(ids.max())}")
        vectors = np.empty((len(rows), weights.width), np.float32)
        room = self._take(count, longest)
        kernels.forward(
            ids,
            starts,
            weights.embeddings,
            weights.layers,
            weights.numbers,
            weights.heads,
            weights.inner,
            weights.epsilon,
            self._cls,
            room.arrays,
            vectors,
        )
        with self._lock:
            self._free.append(room)
        return vectors, -count % kernels.ROWS

    def _take(self, tokens: int, longest: int) -> Workspace:
        with self._lock:
            room = self._free.pop() if self._free else None
        if room is None or room.tokens < tokens or room.longest < longest:
            room = Workspace(self._weights, max(tokens, 2 * _BATCH_TOKENS), max(longest, 128))
        return room
