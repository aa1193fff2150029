"""What a handler may do besides its batches: get ready for a partition, and act on a timer."""

from __future__ import annotations

from streams.engine.checkpoint_ports import Log
from streams.engine.handler import BatchHandler, FollowsPartitions, RecallsOutputs, TimerFromStart, WarmsUp
from streams.engine.outputs import Outputs
from streams.engine.records import BatchResult
from streams.engine.state import Table, WholeState


class Duties:
    """Of a handler, for one partition number."""

    def __init__(self, handler: BatchHandler, table: Table, partition: int, outputs: Outputs, log: Log) -> None:
        self._recalls = handler if isinstance(handler, RecallsOutputs) else None
        self._warms_up = handler if isinstance(handler, WarmsUp) else None
        self._follows = handler if isinstance(handler, FollowsPartitions) else None
        self.has_timer = self._follows is not None
        self.has_timer_from_start = isinstance(handler, TimerFromStart)
        self._table, self._partition, self._outputs, self._log = table, partition, outputs, log

    async def get_ready(self) -> None:
        """After the partition was taken over. Raises TransientError, and what the handler raises."""
        if self._recalls is not None:
            recalled, count = self._recalls.recalls
            self._recalls.recall(await self._log.last_records(recalled, await self._outputs.partition_count(recalled), count))
        if self._warms_up is not None:
            await self._warms_up.warm_up()
        if self._follows is not None:
            await self._follows.on_assigned(self._partition, self._table.items(self._partition))

    async def on_timer(self) -> BatchResult:
        """What is due by the clock."""
        if self._follows is None:
            return BatchResult()
        return await self._follows.on_timer(self._partition, WholeState(self._table, self._partition))
