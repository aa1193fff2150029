"""Repeats a step when something changed or when the step asks for it, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from streams.backoff import Backoff, is_set_within
from streams.errors import TransientError

log = logging.getLogger(__name__)
_BACKOFF_S = (1.0, 60.0)
_JITTER = 0.2


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
        backoff = Backoff(*_BACKOFF_S, jitter=_JITTER)
        while True:
            self._changed.clear()
            try:
                wait = await self._step()
                backoff.reset()
            except TransientError as error:
                wait = backoff.next_s()
                log.warning("models: %s; trying again in %.0f s; the served models do not change", error, wait)
            except Exception as error:  # noqa: BLE001 - whatever a model's change raises, the worker serves on with what it has
                wait = backoff.next_s()
                log.error(
                    "models: a change failed (%s); trying again in %.0f s; the served models do not change", type(error).__name__, wait
                )
            await is_set_within(self._changed, wait)
