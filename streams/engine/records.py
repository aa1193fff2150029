"""What goes into and comes out of a stage: plain records, no Kafka client, no Faust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class OutputRecord(NamedTuple):
    """A record that a stage wants written.

    ``record_id`` is deterministic: the same source record, processed again from the same state, gives the same
    id. The runtime writes it as the header ``veilstream-id`` and, after a take-over, leaves out what is already
    there. ``partition`` None means murmur2 of the key; stages whose output is partitioned like their input set it.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    record_id: bytes
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class BatchResult:
    """Everything one batch causes. Nothing of it takes effect before the runtime writes it, in the order
    outputs, state, commit; a handler may be called again with the same records and must then answer the same."""

    outputs: list[OutputRecord] = field(default_factory=list)
    state: dict[bytes, bytes | None] = field(default_factory=dict)
    """Key to new value of the stage's table; None deletes."""
    rejected: int = 0
    """How many of the batch's records were dead-lettered (counts towards the bound on rejects)."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How many of them for which reason, as far as the handler tells; the message about too many rejects names them."""


class StateView(Protocol):
    """The stage's table, for the keys of one partition."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The values of those keys that have one."""
        ...


class BatchHandler(Protocol):
    """A stage's whole logic. All records of a batch come from one topic and partition, in offset order.

    Raising rejects the batch: the runtime retries it, halves it, and dead-letters the record that raises alone.
    A handler's own memory (caches, dedup windows) may only be an accelerator of what state and records say.
    """

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult: ...
