"""The parts of a stage's process that the composition root provides, as protocols and one record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from streams.engine.checkpoint_ports import Log
from streams.engine.followers import Follower
from streams.engine.handler import BatchHandler, StageSpec
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import Outputs
from streams.engine.ownership import Ownership
from streams.engine.partition_worker import Fetching
from streams.engine.ports import DeadLetters
from streams.engine.records import FetchedRun, SourceRecord
from streams.engine.resume import GroupCommit
from streams.engine.state import ChangelogWriter, Store, Table


class Fetcher(Fetching, Protocol):
    def start(self) -> None: ...
    async def stop(self) -> None: ...
    @property
    def failure(self) -> BaseException | None: ...
    def end(self, topic: str, partition: int) -> int | None: ...
    def position(self, topic: str, partition: int) -> int | None: ...
    def troubles(self) -> list[tuple[str, int, str, float]]: ...


class Broker(Protocol):
    """What a process needs of the brokers."""

    outputs: Outputs

    @property
    def topics(self) -> Log: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def fetcher(
        self,
        *,
        linger_ms: int,
        deliver: Callable[[FetchedRun], object],
        has_room: Callable[[str, int], bool],
        questionable: Callable[[str, int], None],
    ) -> Fetcher: ...
    async def partition_counts(self, topics: Sequence[str]) -> dict[str, int]: ...
    async def grow(self, topic: str, partitions: int) -> None: ...
    async def make_compacted(self, topic: str, partitions: int, replication: int) -> None: ...
    def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[SourceRecord]]: ...


class Member(Protocol):
    """A member of the stage's consumer group, with its table."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    @property
    def failure(self) -> BaseException | None: ...
    @property
    def is_started(self) -> bool: ...
    @property
    def is_moving(self) -> bool: ...
    @property
    def recovery_left(self) -> int:
        """Records of the changelog that are still to be read before the stage processes."""
        ...

    @property
    def changelog(self) -> str | None: ...
    def store(self) -> Store: ...
    def put(self, run: FetchedRun) -> None: ...
    async def commit(self, commits: Mapping[tuple[str, int], GroupCommit]) -> bool: ...


class MakeMember(Protocol):
    def __call__(
        self,
        spec: StageSpec,
        *,
        partitions: int,
        ownership: Ownership,
        deliver: Callable[[FetchedRun], object],
        on_assigned: Callable[[Set[tuple[str, int]], int], None],
        on_revoking: Callable[[], Awaitable[None]],
        read_log: Callable[[str, int, int, int], AsyncIterator[Sequence[SourceRecord]]],
        incarnation: Callable[[str], Awaitable[int]],
    ) -> Member: ...


class KeepsState(Protocol):
    """How a stage's table is made, where it is more than its store and its changelog."""

    @property
    def topic(self) -> str | None:
        """Full name of a compacted topic that it needs beside the changelog."""
        ...

    def table(self, store: Store, changelog: str, writer: ChangelogWriter, name: str, topics: Any) -> Table:
        """``topics`` reads the further topic: a ``TopicReader``."""
        ...


class Journal(Protocol):
    """Where a process notes that it runs."""

    async def begin(self) -> None:
        """The topics are there; nothing is read yet. Raises TransientError or FatalError where it can't be noted, and then nothing is."""
        ...

    async def end(self, failure: BaseException | None) -> None:
        """Everything is settled, or a failure has ended it. Raises as above."""
        ...


@dataclass(frozen=True, slots=True)
class StageParts:
    """What the composition root made for a stage."""

    spec: StageSpec
    handler: BatchHandler
    dead_letters: DeadLetters
    metrics: StageMetrics
    registry: CollectorRegistry
    followers: Sequence[Follower] = field(default_factory=tuple)
    closers: Sequence[Callable[[], Awaitable[None]]] = ()
    """Called when everything else has stopped."""
    journal: Journal | None = None
    state: KeepsState | None = None
