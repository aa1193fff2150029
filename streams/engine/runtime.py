"""Tasks, events and time for the engine: asyncio's in production, a seeded scheduler's in the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol


class Event(Protocol):
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    async def wait(self) -> object: ...


class Task(Protocol):
    def done(self) -> bool: ...
    def cancel(self) -> object: ...
    def __await__(self) -> Any: ...


class Runtime(Protocol):
    def event(self) -> Event: ...
    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Task: ...
    def seconds(self) -> float:
        """Of a clock that only goes forward."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class AsyncioRuntime:
    """On the running event loop."""

    def event(self) -> Event:
        return asyncio.Event()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name)

    def seconds(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
