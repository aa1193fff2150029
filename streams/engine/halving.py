"""A batch that a handler or the broker refuses is handled again in halves, until the bad record stands alone and a dead letter takes its
place. The first half is settled before the second is handled, since it changes the state."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from streams.engine.metrics import StageMetrics
from streams.engine.ports import DeadLetters
from streams.engine.records import BatchResult, SourceRecord, UnreadableRecord
from streams.errors import Reason, RecordError

log = logging.getLogger(__name__)

_TRIES_ALONE = 3
"""A record that raises something unknown is dead-lettered when it does so as often, alone."""

Records = Sequence[SourceRecord | UnreadableRecord]


class Settles(Protocol):
    """What is done with a part. The first two raise RecordError for a part that is refused."""

    async def handle(self, records: Records) -> BatchResult: ...
    async def write(self, topic: str, result: BatchResult) -> None: ...
    def count(self, result: BatchResult, records: Records) -> None:
        """The part is settled."""
        ...


class Halving:
    """Of one stage."""

    def __init__(self, stage: str, dead_letters: DeadLetters, metrics: StageMetrics, pause: Callable[[float], Awaitable[None]]) -> None:
        self._stage = stage
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._pause = pause

    async def settle(self, records: Records, topic: str, by: Settles) -> None:
        """All of the records of a source topic, with a stack instead of recursion."""
        stack: list[Records] = [records]
        alone = 0
        while stack:
            part = stack.pop()
            try:
                result = await by.handle(part)
                await by.write(topic, result)
            except RecordError as error:
                self._metrics.handler_errors.inc()
                if len(part) > 1:
                    middle = len(part) // 2
                    stack += [part[middle:], part[:middle]]
                    continue
                alone += 1
                if error.reason is Reason.POISON and alone < _TRIES_ALONE:
                    await self._pause(0.02 * alone)
                    stack.append(part)
                    continue
                result = await self._reject(part[0], error, topic, by)
            alone = 0
            by.count(result, part)

    async def _reject(self, record: SourceRecord | UnreadableRecord, error: RecordError, topic: str, by: Settles) -> BatchResult:
        # Only the position, the reason and an exception's class are told: its text may quote the record.
        log.warning(
            "%s: dead-lettering %s/%d/%d: %s",
            self._stage,
            record.topic,
            record.partition,
            record.offset,
            error.detail or error.reason.value,
        )
        letter = self._dead_letters.build(record, error, attempt=2)
        result = BatchResult([letter], {}, 1, {error.reason.value: 1})
        try:
            await by.write(topic, result)
        except RecordError:  # even sealed it is too large: the letter goes without the original
            bare = UnreadableRecord(
                record.topic, record.partition, record.offset, record.offset, record.timestamp, None, None, (), error.detail
            )
            result.outputs = [self._dead_letters.build(bare, error, attempt=2)]
            await by.write(topic, result)
        return result
