"""Work on a partition's state that can wait: in small steps, between batches, and only while there is any."""

from __future__ import annotations

from collections.abc import Callable

from streams.engine.handler import ExpiresState
from streams.engine.metrics import StageMetrics
from streams.engine.state import Table

_PART_OF_A_PASS = 1000
"""Keys that a handler is shown at once: some milliseconds."""
_BETWEEN_PASSES_S = 86_400.0


class Upkeep:
    """Of one partition. What is kept in an old form is written in the new one; then, once a day, a handler is shown all of the state, and
    what it says was kept long enough is removed."""

    def __init__(
        self, table: Table, partition: int, handler: ExpiresState | None, metrics: StageMetrics, now_s: Callable[[], float]
    ) -> None:
        self._table, self._partition, self._handler = table, partition, handler
        self._metrics, self._now_s = metrics, now_s
        self._shown: bytes | None = None
        """The last key that the handler was shown; None between two passes."""
        self._next_pass_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether there is something to do: a step holds up the batches."""
        return not self._table.is_moved(self._partition) or (self._handler is not None and self._now_s() >= self._next_pass_s)

    async def step(self, fence: Callable[[], None]) -> None:
        """A small part of it. Raises what ``Table.apply`` does."""
        if not self._table.is_moved(self._partition):
            await self._table.move(self._partition, fence)
        elif self._handler is not None and self._now_s() >= self._next_pass_s:
            await self._expire(self._handler, fence)

    async def _expire(self, handler: ExpiresState, fence: Callable[[], None]) -> None:
        keys = self._table.keys_after(self._partition, self._shown, _PART_OF_A_PASS)
        gone = handler.expired(self._partition, self._table.view(self._partition).get_many(keys))
        if gone is None:
            return
        await self._table.apply(self._partition, dict.fromkeys(gone), fence)
        self._metrics.expired.inc(len(gone))
        self._shown = keys[-1] if len(keys) == _PART_OF_A_PASS else None
        if self._shown is None:
            self._next_pass_s = self._now_s() + _BETWEEN_PASSES_S
