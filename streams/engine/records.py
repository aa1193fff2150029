"""The records that go into and come out of a stage, as plain data. No Kafka client, no Faust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class SourceRecord(Protocol):
    """A fetched record, by the attribute names of ``aiokafka.ConsumerRecord``, which fits as it is."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # milliseconds since the epoch
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class MemoryRecord(NamedTuple):
    """A SourceRecord that never saw a broker (tests, backtest)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """Replaces fetched records that can't be parsed: one record, or a whole batch that is damaged or has an unknown compression. It is
    also a SourceRecord, so that a dead letter can be made of it. No handler ever gets it.
    """

    topic: str
    partition: int
    offset: int
    last_offset: int
    """The same as ``offset`` for one record."""
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    problem: str
    """What is wrong, without anything of the record."""


class FetchedRun(NamedTuple):
    """Consecutive records of one source partition as one fetch brought them."""

    topic: str
    partition: int
    cursor: int
    """The cursor that requested the run (``PartitionQueue.open``). A run of an older cursor is dropped."""
    begins: int
    """The offset that was asked for; the first record's may be greater, where compaction or a transaction has left a hole."""
    ends: int
    """The offset to ask for next."""
    records: Sequence[SourceRecord | UnreadableRecord]
    size: int
    """Bytes, roughly."""


class OutputRecord(NamedTuple):
    """A record that a stage wants to write.

    ``record_id`` is deterministic: the same source record, processed again from the same state, gives the same id. The engine
    writes it into the header ``veilstream-id``. After a take-over it leaves out records whose id is already there. ``partition``
    None means murmur2 of the key. Stages whose output is partitioned like their input set it.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    record_id: bytes
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    unless: tuple[str, bytes] | None = None
    """Topic and record id of an output that replaces this one. If an earlier worker has already written that output, this one is left
    out. So a record has one outcome, even if a clock gave another result the second time.
    """
    reason: str | None = None
    """A dead letter's reason, as metrics count it."""
    partition_key: bytes | None = None
    """The key that decides the partition, where it must not be that of the record: nobody shall see whom the record is about."""
    counts: tuple[tuple[str, ...], ...] = ()
    """What the record adds one to, once it is written, in the metric of its topic (``StageMetrics``): values of the labels."""


@dataclass(slots=True)
class Shown:
    """What a batch showed shoppers, and what it did not. Counted once all of the batch is written."""

    lists: list[Sequence[str]] = field(default_factory=list)
    """The items of each list, best first."""
    best: list[float] = field(default_factory=list)
    """Score of the first item of each."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """By model version, what a score had to reach."""
    not_made: dict[str, int] = field(default_factory=dict)
    """How often an event asked for a list and got none, by reason."""


@dataclass(slots=True)
class BatchResult:
    """The outputs and state changes of one batch.

    Nothing takes effect before the runtime writes it, in the order outputs, state, commit. A handler may be called again with the
    same records and must then give the same result.
    """

    outputs: list[OutputRecord] = field(default_factory=list)
    state: dict[bytes, bytes | None] = field(default_factory=dict)
    """Key to new value of the stage's table; None deletes."""
    rejected: int = 0
    """How many of the batch's records were dead-lettered (counts towards the bound on rejects)."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Number of refused records by reason, if the handler reports it. The message about too many rejects names them."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Records dropped by rule without a dead letter (duplicates), by reason; counted once the batch is written."""
    excused: int = 0
    """How many of the rejected records do not count towards the bound, because the handler keeps their producer apart."""
    erased: set[bytes] = field(default_factory=set)
    """Keys of the stage's table whose shoppers asked that what was kept of them be forgotten: it is made unreadable in old copies too,
    also where a new value follows. Keys that are deleted need not be named."""
    expired: int = 0
    """How many of the deleted values were kept long enough."""
    shown: Shown | None = None


class StateView(Protocol):
    """The stage's table, for the keys of one partition."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The values of those keys that have one."""
        ...


class PartitionState(StateView, Protocol):
    """The same, and all of it. Whoever knows the keys asks for them: all of a state may be much."""

    def items(self) -> Iterable[tuple[bytes, bytes]]: ...
