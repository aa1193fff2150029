"""What a stage gives the engine: a handler of batches, and what else it may implement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, runtime_checkable

from streams.engine.records import BatchResult, SourceRecord, StateView


class BatchHandler(Protocol):
    """A stage's whole logic. All records of a batch come from one topic and partition, in offset order.

    Raising RecordError rejects the batch: the engine halves it until the record that raises stands alone, and dead-letters that. A
    handler's own memory (caches, deduplication windows) may only be an accelerator of what state and records say: after a failed
    write, or a take-over, it gets the same records again and must answer the same.

    The engine calls it for the next batch while the broker has not yet acknowledged what the last one caused; the state it is shown
    then holds the last one's changes already.
    """

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult: ...


@runtime_checkable
class FollowsPartitions(Protocol):
    """A handler that keeps something by partition, and acts on it as time goes by."""

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """The partition is this worker's now (or again, after a failed write); ``items`` is all of its state."""
        ...

    async def on_timer(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> BatchResult:
        """What is due by the clock. The clock may decide when something is written, never under which id."""
        ...


@runtime_checkable
class TimerFromStart(Protocol):
    """A handler whose timer has something to do also in a partition of which nothing was ever processed."""

    timer_from_start: Literal[True]


@runtime_checkable
class WarmsUp(Protocol):
    """A handler whose first batch would take longer than the others, unless it is asked to do that work before."""

    async def warm_up(self) -> None: ...


@runtime_checkable
class RecallsOutputs(Protocol):
    """A handler that looks at the last records of one of its outputs when it takes over, from whoever wrote them."""

    recalls: tuple[str, int]
    """Output topic, and how many of its last records."""

    def recall(self, records: Sequence[SourceRecord]) -> None: ...
