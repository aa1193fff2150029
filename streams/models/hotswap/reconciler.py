"""Repeats a step when something changed or when the step asks for it, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from streams.errors import TransientError

log = logging.getLogger(__name__)
MAX_BACKOFF_S = 60.0


class Reconciler:
    """``step`` answers after how many seconds it wants to be called again; None: only when ``changed`` is set."""

    def __init__(self, step: Callable[[], Awaitable[float | None]], changed: asyncio.Event) -> None:
        self._step = step
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="models")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff = 1.0
        while True:
            self._changed.clear()
            try:
                wait = await self._step()
                backoff = 1.0
            except TransientError as error:
                log.warning("models: %s; trying again in %.0f s; the served models do not change", error, backoff)
                wait, backoff = backoff, min(2 * backoff, MAX_BACKOFF_S)
            except Exception as error:  # noqa: BLE001 - whatever a model's change raises, the worker serves on with what it has
                log.error(
                    "models: a change failed (%s); trying again in %.0f s; served models do not change", type(error).__name__, backoff
                )
                wait, backoff = backoff, min(2 * backoff, MAX_BACKOFF_S)
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue
