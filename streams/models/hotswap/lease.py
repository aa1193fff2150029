"""A lease on a resource that may be closed only when nobody uses it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager


class Lease:
    """For one event loop."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    async def retire(self) -> None:
        """Close the resource. Returns when the last user has finished and it is closed. No new use may begin after the call."""
        await self._unused.wait()
        await self._close()

    def take(self) -> None:
        self._users += 1
        self._unused.clear()

    def give_back(self) -> None:
        self._users -= 1
        if not self._users:
            self._unused.set()


@contextmanager
def holding(leases: Sequence[Lease]) -> Iterator[None]:
    """All of them are in use until the context ends."""
    for lease in leases:
        lease.take()
    try:
        yield
    finally:
        for lease in leases:
            lease.give_back()
