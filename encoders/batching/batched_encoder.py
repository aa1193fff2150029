"""A model together with its micro-batcher. Both are opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from encoders.batching.cache import VectorCache
from encoders.batching.metrics import EncoderMetrics
from encoders.batching.micro_batcher import EncodesTexts, MicroBatcher
from encoders.engines.engine import Vectors


class BatchedEncoder:
    """For one event loop. Models that serve side by side may share a cache, whose keys hold the version."""

    def __init__(
        self, encoder: EncodesTexts, *, cache: VectorCache | None = None, metrics: EncoderMetrics | None = None, **limits: Any
    ) -> None:
        """``limits`` are those of ``MicroBatcher``. The encoder is this one's to close."""
        if metrics is not None:
            metrics.current(encoder)
        self._encoder = encoder
        self._closed = False
        self._batcher = MicroBatcher(encoder, cache=VectorCache(64 * 2**20) if cache is None else cache, metrics=metrics, **limits)

    @property
    def version(self) -> str:
        return self._batcher.version

    @property
    def dimension(self) -> int:
        return self._batcher.dimension

    async def encode_many(self, texts: Sequence[str]) -> Vectors:
        """See ``MicroBatcher.encode_many``."""
        return await self._batcher.encode_many(texts)

    async def close(self) -> None:
        """Answers what was accepted, refuses the rest, closes the encoder."""
        if self._closed:
            return
        self._closed = True
        await self._batcher.close()
        await asyncio.get_running_loop().run_in_executor(None, self._encoder.close)
