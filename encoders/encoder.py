"""A BERT-family model as a function from texts to unit vectors: tokenizes, cuts batches, and computes them with an engine on all lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from encoders.engines.engine import BatchCounts, Engine, Vectors
from encoders.engines.selection import Trial
from encoders.threads import lower_priority
from encoders.tokens import check_texts

_CHUNK = 1024
"""Texts tokenized at a time; the next ones are, while these are computed."""


class Encoder:
    """Immutable after construction; any thread may call it."""

    def __init__(
        self,
        engine: Engine,
        tokenize: Callable[[Sequence[str]], list[list[int]]],
        *,
        version: str,
        trials: Sequence[Trial] = (),
    ) -> None:
        self._engine = engine
        self._tokenize = tokenize
        self._threads = ThreadPoolExecutor(engine.lanes, thread_name_prefix="encode", initializer=lower_priority)
        self.version = version
        """Twelve hexadecimal characters of the weights and of what else decides the vectors, but not of the engine."""
        self.dimension = engine.dimension
        self.lanes = engine.lanes
        self.engine = engine.name
        self.trials = tuple(trials)
        """How the engine was chosen; empty if it was asked for by name."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, dimension], unit length, in input order. An empty text has a vector too (that of no words).

        Raises TypeError that names the index where an element is not text. Lone surrogates count as no characters, and only the
        first ``tokens.MAX_CHARACTERS`` are read.
        """
        return self.encode_counted(texts)[0]

    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, BatchCounts]:
        """``encode``, and what it took."""
        check_texts(texts)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        tokens = padding = 0
        before: list[Future[int]] = []
        for start in range(0, len(texts), _CHUNK):
            rows = self._tokenize(texts[start : start + _CHUNK])
            lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
            tokens += int(lengths.sum())
            begun = self._begin(rows, lengths, vectors[start : start + len(rows)])
            padding += sum(_results(before))
            before = begun
        return vectors, BatchCounts(tokens, padding + sum(_results(before)))

    def close(self) -> None:
        """Ends the threads. Nothing may be encoded afterwards."""
        self._threads.shutdown()

    def _begin(self, rows: list[list[int]], lengths: npt.NDArray[np.int64], out: Vectors) -> list[Future[int]]:
        # Few texts are shared among the lanes, too.
        budget = min(self._engine.batch_tokens, -(-int(lengths.sum()) // self.lanes))
        return [self._threads.submit(self._compute, rows, batch, out) for batch in token_batches(lengths, budget)]

    def _compute(self, rows: list[list[int]], batch: npt.NDArray[np.int64], out: Vectors) -> int:
        out[batch], padding = self._engine.forward([rows[row] for row in batch])
        return padding


def token_batches(lengths: npt.NDArray[np.int64], budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches of similar length, longest first, each of at most ``budget`` padded tokens (or one row)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def _results(futures: Sequence[Future[int]]) -> list[int]:
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
