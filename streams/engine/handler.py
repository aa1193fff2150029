"""The engine's view of a stage: what it reads, writes and keeps (``StageSpec``), and its batch handler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from streams.engine.records import BatchResult, PartitionState, SourceRecord, StateView


class BatchHandler(Protocol):
    """The whole logic of a stage. All records of a batch come from one topic and partition, in offset order.

    To raise RecordError rejects the batch. The engine then halves it until the record that raises is alone, and dead-letters this
    record.

    The handler's own memory (caches, deduplication windows) may only speed up what follows from state and records. After a failed
    write, or a take-over, it gets the same records again and must give the same results.

    The engine calls it for the next batch before the broker has acknowledged the outputs of the last one. The state that it gets
    then already holds the changes of the last batch.
    """

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult: ...


@runtime_checkable
class FollowsPartitions(Protocol):
    """A handler with memory per partition, which also acts on a timer."""

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """The partition belongs to this worker now, or again after a failed write. ``items`` is its whole state."""
        ...

    async def on_timer(self, partition: int, state: PartitionState) -> BatchResult:
        """What is due by the clock. The clock may decide when something is written, never under which id."""
        ...


@runtime_checkable
class ExpiresState(Protocol):
    """A handler whose state is kept for so long and no longer. All of a partition's state is shown to it once a day, in parts."""

    def expired(self, partition: int, items: Mapping[bytes, bytes]) -> list[bytes] | None:
        """Keys of what was kept long enough, which is removed. None where that can't be told yet: the same part is shown again."""
        ...


@runtime_checkable
class TimerFromStart(Protocol):
    """A handler whose timer may have work even in a partition of which no record was ever processed."""

    timer_from_start: Literal[True]


@runtime_checkable
class WarmsUp(Protocol):
    """A handler that warms up: work that would slow down its first batch is done before."""

    async def warm_up(self) -> None: ...


@runtime_checkable
class RecallsOutputs(Protocol):
    """A handler that, on a take-over, reads the last records of one of its outputs, whichever worker wrote them."""

    recalls: tuple[str, int]
    """Output topic, and how many of its last records."""

    def recall(self, records: Sequence[SourceRecord]) -> None: ...


@dataclass(frozen=True, slots=True)
class StageSpec:
    """The topics and properties of a stage. Topic names are without prefix."""

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: str | None = None
    seals: Literal["nothing", "values", "shoppers"] = "nothing"
    """How the values of the table lie on disk and in the changelog: as they are, sealed, or those of each shopper under a data key of her
    own. Keys that begin with a zero byte are no shopper's."""
    aligned: bool = False
    """True: co-partitioned outputs are written to the source's own partition number."""
    scattered: tuple[str, ...] = ()
    """Co-partitioned outputs of an aligned stage with keys that are not the source's: they go to any partition."""
    follows: tuple[str, ...] = ()
    """Topics that are read completely into memory."""
    uses_encoder: bool = False
    linger_ms: int = 0
    """Time for which records are gathered after the first one, milliseconds. It is for stages that nobody waits for: larger batches
    cost the broker less.
    """
    timer_s: float | None = None
    """Time between two timer calls, in which the handler may act without an event, seconds. None: no timer."""
