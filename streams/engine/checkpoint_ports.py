"""What the checkpoint asks of the broker. Protocols only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from streams.engine.positions import Positions
from streams.engine.records import SourceRecord
from streams.engine.resume import Bounds, GroupCommit


class Log(Protocol):
    """What the broker tells about topics. Source topics are full names; output topics are not. All of it raises TransientError."""

    async def committed(self, topic: str, partition: int) -> GroupCommit | None: ...
    async def bounds(self, topic: str, partition: int) -> Bounds: ...
    async def incarnation(self, topic: str) -> int: ...
    async def output_bounds(self, where: Iterable[tuple[str, int]]) -> tuple[Positions, Positions]:
        """The first and the end offsets of output partitions."""
        ...

    async def stamps(self, begins: Positions, ends: Positions, tag: bytes) -> Mapping[bytes, set[tuple[str, bytes]]]:
        """Between these offsets of the outputs: (topic, record id) of what has this tag, by what follows the tag in the stamp."""
        ...

    async def last_records(self, topic: str, partitions: int, count: int) -> list[SourceRecord]: ...


class Committer(Protocol):
    async def commit(self, commits: Mapping[tuple[str, int], GroupCommit]) -> bool:
        """False where the group has moved on. Raises TransientError where the coordinator did not answer."""
        ...
