"""A stage's handler, and what becomes of whatever it raises."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from streams.engine.faults import is_infrastructure
from streams.engine.handler import BatchHandler
from streams.engine.metrics import StageMetrics
from streams.engine.ports import DeadLetters
from streams.engine.records import BatchResult, SourceRecord, StateView, UnreadableRecord
from streams.errors import FATAL, Reason, RecordError, TransientError

log = logging.getLogger(__name__)


class GuardedHandler:
    """Gives the handler what can be read; what can't becomes a dead letter in its place."""

    def __init__(self, handler: BatchHandler, *, stage: str, dead_letters: DeadLetters, metrics: StageMetrics) -> None:
        self._handler = handler
        self._stage = stage
        self._dead_letters = dead_letters
        self._metrics = metrics

    async def __call__(self, part: Sequence[SourceRecord | UnreadableRecord], state: StateView) -> BatchResult:
        """The handler's answer. Whatever it raises about these records becomes a RecordError; a fault of the machine, TransientError."""
        readable = [record for record in part if not isinstance(record, UnreadableRecord)]
        try:
            with self._metrics.handler_seconds.time():
                result = await self._handler(readable, state) if readable else BatchResult()
        except (*FATAL, TransientError, RecordError):
            raise
        except Exception as error:
            if is_infrastructure(error):
                raise TransientError(f"the stage can't work ({type(error).__name__})") from error
            raise RecordError(Reason.POISON, f"{type(error).__name__} in stage {self._stage}") from error
        if len(readable) < len(part):
            for record in part:
                if isinstance(record, UnreadableRecord):
                    self._add_unreadable(result, record)
        return result

    def _add_unreadable(self, result: BatchResult, record: UnreadableRecord) -> None:
        count = record.last_offset - record.offset + 1
        log.warning(
            "%s: %s/%d/%d%s can't be read: %s", self._stage, record.topic, record.partition, record.offset,
            f" to {record.last_offset}" if count > 1 else "", record.problem,
        )  # fmt: skip
        many = f"{count} records up to offset {record.last_offset}: " if count > 1 else ""
        result.outputs.append(self._dead_letters.build(record, RecordError(Reason.UNREADABLE, many + record.problem)))
        result.rejected += count
        result.reasons[Reason.UNREADABLE.value] = result.reasons.get(Reason.UNREADABLE.value, 0) + count
