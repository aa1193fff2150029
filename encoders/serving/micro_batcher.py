"""Requests of many tasks, encoded together.

While a batch computes, requests gather; when it ends, a turn of the event loop that brings nothing new, a full batch or ``max_wait_s``
starts the next. So a lone request waits for next to nothing, and under load batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from encoders.engines.engine import Vectors
from encoders.serving.cache import VectorCache
from encoders.serving.isolation import Outcome, encode_each
from encoders.texts import check_texts

_SLICE = 256
"""Texts of one request that are looked up between two turns of the event loop."""


class EncodesTexts(Protocol):
    """What is served: ``Encoder``, or one without a model."""

    version: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors: ...


@dataclass(eq=False, slots=True)
class _Waiting:
    """A text that is computed, or will be, and who waits for it."""

    text: str
    future: asyncio.Future[Vectors]
    interested: int = 0


@dataclass(slots=True)
class _Queue:
    """Texts not yet begun, first come first served; those that nobody wants any more are passed over."""

    entries: deque[_Waiting] = field(default_factory=deque)

    def take(self, count: int) -> list[_Waiting]:
        taken: list[_Waiting] = []
        while self.entries and len(taken) < count:
            entry = self.entries.popleft()
            if entry.interested:
                taken.append(entry)
            else:
                entry.future.cancel()
        return taken


class MicroBatcher:
    """``encode_many`` for every task of one event loop. ``close`` answers what was accepted and refuses the rest."""

    def __init__(
        self,
        encoder: EncodesTexts,
        *,
        cache: VectorCache | None = None,
        max_batch_texts: int = 512,
        max_waiting_texts: int = 8192,
        max_wait_s: float = 0.005,
    ) -> None:
        """Without a cache, one of 64 MiB of its own."""
        self.version = encoder.version
        self.dimension = encoder.dimension
        self._encoder = encoder
        self._cache = VectorCache(64 * 2**20) if cache is None else cache
        self._max_batch = max_batch_texts
        self._max_waiting = max_waiting_texts
        self._max_wait_s = max_wait_s
        self._queue = _Queue()
        self._known: dict[str, _Waiting] = {}
        self._room, self._idle = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._requests = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")

    async def encode_many(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, dimension], unit length, in input order; each text computed once, whoever asks at the same time.

        Raises TypeError for what is not text, what the encoder raises for one of these very texts, and RuntimeError after ``close``.
        Waits while more than ``max_waiting_texts`` are queued.
        """
        if self._closing:
            raise RuntimeError("the encoder is closed; nothing more can be encoded")
        check_texts(texts)
        result = np.empty((len(texts), self.dimension), dtype=np.float32)
        self._requests += 1
        try:
            for start in range(0, len(texts), _SLICE):
                await self._fill(texts[start : start + _SLICE], result[start : start + _SLICE])
        finally:
            self._ended()
        return result

    async def close(self) -> None:
        """Returns when all accepted requests are answered and the thread has ended."""
        self._closing = True
        if self._requests:
            await self._idle.wait()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _ended(self) -> None:
        self._requests -= 1
        if self._closing and not self._requests:
            self._idle.set()

    async def _fill(self, texts: Sequence[str], out: Vectors) -> None:
        missing: list[tuple[int, _Waiting]] = []
        while len(self._queue.entries) >= self._max_waiting:
            self._room.clear()
            await self._room.wait()
        for place, text in enumerate(texts):
            vector = self._cache.get(self.version, text)
            if vector is not None:
                out[place] = vector
            else:
                missing.append((place, self._entry(text)))
        if not missing:
            return
        entries = {id(entry): entry for _, entry in missing}.values()
        for entry in entries:
            entry.interested += 1
        self._start()
        try:
            # Not gather: a cancelled request must not cancel what others wait for.
            await asyncio.wait([entry.future for entry in entries])
        finally:
            self._leave(entries)
        for place, entry in missing:
            out[place] = entry.future.result()

    def _entry(self, text: str) -> _Waiting:
        entry = self._known.get(text)
        if entry is None or entry.future.done():
            entry = _Waiting(text, asyncio.get_running_loop().create_future())
            self._known[text] = entry
            self._queue.entries.append(entry)
        return entry

    def _leave(self, entries: Iterable[_Waiting]) -> None:
        for entry in entries:
            entry.interested -= 1
            if entry.future.done() and not entry.future.cancelled():
                entry.future.exception()  # seen: asyncio would log it, and with it perhaps a text

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="encoder")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue.entries:
            await self._gather()
            batch = self._queue.take(self._max_batch)
            self._room.set()
            if not batch:
                continue
            texts = [entry.text for entry in batch]
            outcomes: Sequence[Outcome]
            try:
                outcomes = await loop.run_in_executor(self._thread, encode_each, self._encoder.encode, texts)
            except Exception as error:  # noqa: BLE001 - without an answer its requests would wait for ever
                outcomes = [error] * len(batch)
            self._answer(batch, outcomes)

    async def _gather(self) -> None:
        """Until a turn of the loop brings nothing new, the batch is full, or the wait is over."""
        until, before = time.monotonic() + self._max_wait_s, 0
        while before < len(self._queue.entries) < self._max_batch and time.monotonic() < until:
            before = len(self._queue.entries)
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # a task that an answer woke has asked again after two

    def _answer(self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        for entry, outcome in zip(batch, outcomes, strict=True):
            if self._known.get(entry.text) is entry:
                del self._known[entry.text]
            if isinstance(outcome, Exception):
                entry.future.set_exception(outcome)
            else:
                self._cache.put(self.version, entry.text, outcome)
                entry.future.set_result(outcome)
