"""The engine's view of a stage: what it reads, writes and keeps (``StageSpec``), and its batch handler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Topic names are without prefix."""

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: str | None = None
    aligned: bool = False
    """True where co-partitioned outputs are written to the source's own partition number."""
    follows: tuple[str, ...] = ()
    """Topics read whole into memory."""
    uses_encoder: bool = False
    linger_ms: int = 0
    """How long what comes is gathered after something came. Nobody waits for a stage that has this; its batches are larger, and cost the
    broker less."""
    timer_s: float | None = None
    """How often the handler may do what is due without an event."""
