"""Encodes the requests of many tasks together.

While batches compute, requests gather. The next batch starts when one of these happens after a batch has ended: a turn of the event loop
brings nothing new, the batch is full, or ``max_wait_s`` is over. So a single request waits for almost no time, and batches grow under load.
Two batches are in progress at a time: while the answers of one are delivered and its callers ask again, the other keeps the processor busy.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from encoders.batching.cache import VectorCache
from encoders.batching.metrics import EncoderMetrics, NoMetrics
from encoders.engines.engine import BatchCounts, Vectors
from encoders.threads import lower_priority
from encoders.tokens import check_texts

Outcome = Vectors | Exception

_SLICE = 256
"""Texts of one request that are looked up between two turns of the event loop."""
_CALLS = 2
"""Batches under way at a time."""
_WORTH_SPLITTING = 16
"""Texts; fewer are one batch, though two could be under way."""


class EncodesTexts(Protocol):
    """What is served: ``Encoder``, or one without a model."""

    version: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors: ...
    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, BatchCounts]: ...
    def close(self) -> None: ...


@dataclass(eq=False, slots=True)
class _Waiting:
    """A text that is computed, or will be, and who waits for it."""

    text: str
    future: asyncio.Future[Vectors]
    since: float
    interested: int = 0


@dataclass(slots=True)
class _Queue:
    """Texts that are waiting, first come first served. Texts that no caller wants any more are skipped."""

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
        metrics: EncoderMetrics | None = None,
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
        self._room, self._idle, self._free = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._closing = False
        self._requests = 0
        self._metrics = NoMetrics() if metrics is None else metrics.of(encoder)
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix="encoder", initializer=lower_priority)

    async def encode_many(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, dimension], unit length, in input order. Each text is computed once, even if several tasks ask for it at the
        same time.

        Raises TypeError for input that is not text, the encoder's error for one of these texts, and RuntimeError after ``close``.
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
        """Returns when all accepted requests are answered and the threads have ended. The encoder stays open."""
        self._closing = True
        if self._requests:
            await self._idle.wait()
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

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
        self._metrics.looked_up(len(texts), len(missing), self._cache.bytes)
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
            entry = _Waiting(text, asyncio.get_running_loop().create_future(), time.monotonic())
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
        while self._queue.entries:
            while len(self._calls) >= _CALLS:
                self._free.clear()
                await self._free.wait()
            await self._gather()
            batch = self._queue.take(self._share())
            self._room.set()
            if batch:
                call = asyncio.get_running_loop().create_task(self._compute(batch), name="encoder batch")
                self._calls.add(call)
                call.add_done_callback(self._computed)

    def _share(self) -> int:
        """Texts of the next batch: what waits is divided among the calls that can be under way."""
        waiting = len(self._queue.entries)
        calls = _CALLS - len(self._calls) if waiting >= _WORTH_SPLITTING else 1
        return min(self._max_batch, -(-waiting // calls))

    def _computed(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._free.set()

    async def _compute(self, batch: Sequence[_Waiting]) -> None:
        texts = [entry.text for entry in batch]
        begun = time.monotonic()
        counts: list[BatchCounts] = []
        outcomes: Sequence[Outcome]

        def encode(some: Sequence[str]) -> Vectors:
            vectors, count = self._encoder.encode_counted(some)
            counts.append(count)
            return vectors

        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._threads, encode_each, encode, texts)
        except Exception as error:  # noqa: BLE001 - without an answer its requests would wait for ever
            outcomes = [error] * len(batch)
        failed = sum(isinstance(outcome, Exception) for outcome in outcomes)
        self._metrics.computed(counts, len(batch), failed, time.monotonic() - begun, [begun - entry.since for entry in batch])
        self._answer(batch, outcomes)

    async def _gather(self) -> None:
        """Wait until a turn of the loop brings nothing new, the batch is full, or the time is over."""
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
