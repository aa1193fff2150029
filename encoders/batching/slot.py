"""The model in use, and its replacement by another while requests are in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from encoders.batching.cache import VectorCache
from encoders.batching.metrics import EncoderMetrics
from encoders.batching.micro_batcher import EncodesTexts, MicroBatcher
from encoders.engines.engine import Vectors


class EncoderSlot:
    """A ``MicroBatcher`` whose encoder can be replaced. Each request is answered wholly by the version that was in use when it came.

    All versions share one cache, whose keys hold the version. For one event loop.
    """

    def __init__(
        self, encoder: EncodesTexts, *, cache: VectorCache | None = None, metrics: EncoderMetrics | None = None, **limits: Any
    ) -> None:
        """``limits`` are those of ``MicroBatcher``. The slot closes the encoders that it is given."""
        self._cache = VectorCache(64 * 2**20) if cache is None else cache
        self._metrics = metrics
        self._limits = limits
        self._closed = False
        self._leaving: set[asyncio.Task[None]] = set()
        self._encoder = encoder
        self._front = self._open(encoder)

    @property
    def version(self) -> str:
        """Of the model in use now."""
        return self._front.version

    @property
    def dimension(self) -> int:
        """Of the model in use now."""
        return self._front.dimension

    @property
    def encoder(self) -> EncodesTexts:
        """The one in use now."""
        return self._encoder

    async def encode_many(self, texts: Sequence[str]) -> Vectors:
        """See ``MicroBatcher.encode_many``."""
        return await self._front.encode_many(texts)

    async def encode_with_version(self, texts: Sequence[str]) -> tuple[Vectors, str]:
        """``encode_many``, and the version that every row is of."""
        front = self._front
        return await front.encode_many(texts), front.version

    async def replace(self, encoder: EncodesTexts) -> None:
        """Requests from now on are answered by ``encoder``. Returns when those before are answered and their encoder is closed.

        Raises RuntimeError after ``close``; ``encoder`` is then left as it is.
        """
        if self._closed:
            raise RuntimeError("the encoder is closed; it can't be replaced any more")
        old_front, old = self._front, self._encoder
        self._front, self._encoder = self._open(encoder), encoder
        # Its own task: a cancelled caller must not leave the old encoder open.
        leaving = asyncio.get_running_loop().create_task(_leave(old_front, old), name="encoder replaced")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.shield(leaving)

    async def close(self) -> None:
        """Answers what was accepted, refuses the rest, closes the encoder."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(_leave(self._front, self._encoder), *self._leaving)

    def _open(self, encoder: EncodesTexts) -> MicroBatcher:
        if self._metrics is not None:
            self._metrics.current(encoder)
        return MicroBatcher(encoder, cache=self._cache, metrics=self._metrics, **self._limits)


async def _leave(front: MicroBatcher, encoder: EncodesTexts) -> None:
    await front.close()
    await asyncio.get_running_loop().run_in_executor(None, encoder.close)
