"""Apache Kafka as far as delivery sees it: logs, transactions, producers' sequence numbers, a group, and answers that get lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streams.engine.outputs import LINK_LOST, Answer, Row
from streams.engine.positions import decode_note
from streams.engine.resume import Bounds, GroupCommit
from streams.errors import TransientError
from tests.simulation.scheduler import Scheduler

SESSION_S = 6.0
REBALANCE_S = 10.0
OUT, DEAD, CHANGELOG, DATA_KEYS = "out", "dead", "changelog", "keys"
TOO_LARGE = 600
"""A batch of more bytes of values is refused."""
OK, UNKNOWN_TOPIC, NOT_LEADER, MESSAGE_TOO_LARGE, COORDINATOR_LOADING, OUT_OF_ORDER, OFFSET_OUT_OF_RANGE = 0, 3, 6, 10, 14, 45, 1

Producer = tuple[int, int]
Where = tuple[str, int]


class Violation(AssertionError):
    """A promise is broken."""


class UnreadableHeader(Exception):
    """What aiokafka's parser raises in the middle of a batch."""


class RawRecord(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class SourceBatch:
    """What a producer sent. A ``streams.engine.unpack.RecordBatch``."""

    base_offset: int
    records: list[RawRecord]
    producer_id: int | None = None
    is_transactional: bool = False
    is_control_batch: bool = False
    bad: int | None = None
    """Place of the record that can't be parsed."""
    is_damaged: bool = False

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.records)

    @property
    def unpacked_bytes(self) -> int:
        return 40 * len(self.records)

    def validate_crc(self) -> bool:
        return not self.is_damaged

    def __iter__(self) -> Iterator[RawRecord]:
        for place, record in enumerate(self.records):
            if place == self.bad:
                raise UnreadableHeader
            yield record


class FetchAnswer(NamedTuple):
    error: int
    batches: Sequence[SourceBatch]
    aborted: Sequence[tuple[int, int]]


@dataclass(slots=True)
class Source:
    """One source partition."""

    batches: list[SourceBatch] = field(default_factory=list)
    aborted: list[tuple[int, int, int]] = field(default_factory=list)
    """Producer, first offset, offset of the marker."""
    open: dict[int, int] = field(default_factory=dict)
    """Transactions that are neither committed nor aborted: producer, first offset."""

    @property
    def log_end(self) -> int:
        return self.batches[-1].next_offset if self.batches else 0

    @property
    def stable_end(self) -> int:
        return min(self.open.values(), default=self.log_end)

    def append(self, values: Sequence[tuple[bytes, bytes]], *, producer: int | None = None, **settings: Any) -> None:
        base = self.log_end
        records = [RawRecord(base + place, 0, key, value) for place, (key, value) in enumerate(values)]
        self.batches.append(SourceBatch(base, records, producer, producer is not None, **settings))
        if producer is not None:
            self.open.setdefault(producer, base)

    def end_transaction(self, producer: int, *, aborts: bool) -> None:
        base = self.log_end
        key = b"\x00\x00\x00\x00" if aborts else b"\x00\x00\x00\x01"
        self.batches.append(SourceBatch(base, [RawRecord(base, 0, key, b"")], producer, True, True))
        first = self.open.pop(producer)
        if aborts:
            self.aborted.append((producer, first, base))

    def fetch(self, offset: int, most: int) -> FetchAnswer:
        if offset > self.log_end:
            return FetchAnswer(OFFSET_OUT_OF_RANGE, (), ())
        end = self.stable_end
        found = [batch for batch in self.batches if batch.next_offset > offset and batch.base_offset < end]
        return FetchAnswer(OK, found[:most], [(producer, first) for producer, first, marker in self.aborted if marker >= offset])

    def visible(self) -> list[tuple[RawRecord, bool]]:
        """What committed transactions and other producers wrote, and whether it can be read."""
        aborted = {(producer, offset) for producer, first, end in self.aborted for offset in range(first, end)}
        return [
            (record, not batch.is_damaged and place != batch.bad)
            for batch in self.batches
            if not batch.is_control_batch and not (batch.is_transactional and batch.producer_id in self.open)
            for place, record in enumerate(batch.records)
            if (batch.producer_id, record.offset) not in aborted
        ]


@dataclass(slots=True)
class Log:
    """One partition of an output or changelog."""

    rows: list[Row] = field(default_factory=list)
    next_sequence: dict[Producer, int] = field(default_factory=dict)
    known: dict[tuple[Producer, int], int] = field(default_factory=dict)
    most_bytes: int = TOO_LARGE

    def append(self, rows: Sequence[Row], producer: Producer, sequence: int) -> Answer:
        known = self.known.get((producer, sequence))
        if known is not None:
            return Answer(OK, known)
        if sequence != self.next_sequence.get(producer, 0):
            return Answer(OUT_OF_ORDER, -1)
        if sum(len(value or b"") for _, value, _ in rows) > self.most_bytes:
            return Answer(MESSAGE_TOO_LARGE, -1)
        first = len(self.rows)
        self.rows += rows
        self.next_sequence[producer] = sequence + len(rows)
        self.known[(producer, sequence)] = first
        return Answer(OK, first)


@dataclass(slots=True)
class _Member:
    deadline: float
    generation: int = -1
    has_joined: bool = False
    owned: tuple[Where, ...] = ()


class Broker:
    """``faults`` is how likely a request, or its answer, gets lost."""

    def __init__(self, scheduler: Scheduler, sources: Sequence[str], partitions: int) -> None:
        self.scheduler = scheduler
        self.rng = scheduler.rng
        self.source_topics = tuple(sources)
        self.partitions = partitions
        self.faults = 0.0
        self.is_deleted = False
        self.incarnation = 1
        self.sources = self._fresh_sources()
        self.before: dict[Where, Source] = {}
        """The sources that were there before the topics were made anew."""
        self.logs: dict[Where, Log] = {(t, p): Log() for t in (OUT, DEAD, CHANGELOG, DATA_KEYS) for p in range(partitions)}
        self.leaderless: dict[Where, float] = {}
        self.commits: dict[Where, GroupCommit] = {}
        self.loading_until = 0.0
        self.appended: list[Callable[[], None]] = []
        self._highest: dict[Where, int] = {}
        self._producers = 0
        self._generation = 0
        self._members: dict[str, _Member] = {}
        self._is_rebalancing = False
        self._rebalance_until = 0.0

    def _fresh_sources(self) -> dict[Where, Source]:
        return {(topic, p): Source() for topic in self.source_topics for p in range(self.partitions)}

    async def request(self, effect: Callable[[], Any]) -> Any:
        """There and back. Raises TransientError where the request or the answer gets lost."""
        rng = self.rng
        luck = rng.random()
        if self.scheduler.is_cut_off:
            luck = 2.0 * (luck > 0.5)
        if luck < self.faults / 2 or luck == 0.0:
            await self.scheduler.sleep(0.05)
            raise TransientError("the request got lost")
        answer = await self.scheduler.elsewhere(effect, 0.002 + 0.008 * rng.random(), 0.002 + 0.008 * rng.random())
        if luck > 1 - self.faults / 2:
            raise TransientError("the answer got lost")
        return answer

    # --- sources

    def changed(self) -> None:
        """Somebody may fetch more."""
        for wake in self.appended:
            wake()

    def fetch(self, where: Where, offset: int, most: int) -> FetchAnswer:
        return FetchAnswer(UNKNOWN_TOPIC, (), ()) if self.is_deleted else self.sources[where].fetch(offset, most)

    def bounds(self, where: Where) -> Bounds:
        self._need_topic()
        return Bounds(0, self.sources[where].stable_end)

    def incarnation_now(self) -> int:
        self._need_topic()
        return self.incarnation

    def _need_topic(self) -> None:
        if self.is_deleted:
            raise Violation("asked of a topic that is deleted")

    def delete_sources(self, *, with_commits: bool) -> None:
        self.is_deleted = True
        if with_commits:
            self.lose_commits()
        self.changed()

    def recreate_sources(self) -> None:
        self.before = self.sources
        self.sources = self._fresh_sources()
        self.incarnation += 1
        self.is_deleted = False
        self._highest.clear()
        self.changed()

    # --- outputs

    def new_producer(self) -> Producer:
        self._producers += 1
        return (self._producers, 0)

    def forget_producers(self) -> None:
        for log in self.logs.values():
            log.next_sequence.clear()
            log.known.clear()

    def produce(self, batches: Mapping[Where, tuple[Sequence[Row], Producer, int]]) -> dict[Where, Answer]:
        answers: dict[Where, Answer] = {}
        for where, (rows, producer, sequence) in batches.items():
            luck = self.rng.random()
            if luck < self.faults / 2 or self.leaderless.get(where, 0.0) > self.scheduler.now:
                answers[where] = Answer(NOT_LEADER, -1)
                continue
            answers[where] = self.logs[where].append(rows, producer, sequence)
            if luck > 1 - self.faults / 2:
                answers[where] = Answer(LINK_LOST, -1)
        return answers

    # --- the group

    def heartbeat(self, name: str, generation: int) -> str:
        self._expire()
        member = self._members.get(name)
        if member is None or member.generation != generation:
            return "unknown"
        member.deadline = self.scheduler.now + SESSION_S
        return "rebalance" if self._is_rebalancing else "ok"

    def join(self, name: str) -> None:
        self._expire()
        member = self._members.setdefault(name, _Member(0.0))
        member.deadline = self.scheduler.now + SESSION_S
        member.has_joined = True
        self._rebalance()

    def leave(self, name: str) -> None:
        if self._members.pop(name, None) is not None:
            self._rebalance()

    def assignment(self, name: str) -> tuple[int, tuple[Where, ...]] | None:
        """Generation and partitions; None while the others have not joined yet. Raises KeyError for one that has to join (again)."""
        self._expire()
        member = self._members[name]
        member.deadline = self.scheduler.now + SESSION_S
        if self._is_rebalancing and not member.has_joined:
            raise KeyError(name)
        return None if self._is_rebalancing or member.has_joined else (member.generation, member.owned)

    def _expire(self) -> None:
        late = [name for name, member in self._members.items() if member.deadline < self.scheduler.now]
        for name in late:
            del self._members[name]
        if late:
            self._rebalance()
        self._complete()

    def _rebalance(self) -> None:
        if not self._is_rebalancing:
            self._is_rebalancing = True
            self._rebalance_until = self.scheduler.now + REBALANCE_S

    def _complete(self) -> None:
        if not self._is_rebalancing:
            return
        if self.scheduler.now > self._rebalance_until:
            self._members = {name: member for name, member in self._members.items() if member.has_joined}
        if not all(member.has_joined for member in self._members.values()):
            return
        self._is_rebalancing = False
        self._generation += 1
        names = sorted(self._members)
        for place, name in enumerate(names):
            member = self._members[name]
            member.generation, member.has_joined = self._generation, False
            member.deadline = self.scheduler.now + SESSION_S
            member.owned = tuple(where for where in self.sources if where[1] % len(names) == place)

    def committed(self, where: Where) -> tuple[int, dict[Where, tuple[int, str, int]]]:
        """Error of the group, and offset, metadata and error by partition, as OffsetFetch answers."""
        if self.scheduler.now < self.loading_until:
            return COORDINATOR_LOADING, {}
        commit = self.commits.get(where, GroupCommit(-1, ""))
        return OK, {where: (commit.offset, commit.metadata, OK)}

    def commit(self, name: str, generation: int, commits: Mapping[Where, GroupCommit]) -> bool | None:
        """None while the coordinator loads."""
        self._expire()
        if self.scheduler.now < self.loading_until:
            return None
        member = self._members.get(name)
        if member is None or member.generation != generation:
            return False
        for where, commit in commits.items():
            self._judge(where, commit)
            self.commits[where] = commit
        return True

    def _judge(self, where: Where, commit: GroupCommit) -> None:
        if self.incarnation > 1 or self.is_deleted:
            note = decode_note(commit.metadata)
            if note is None or note.incarnation != self.incarnation:
                return  # of the topic that was: whoever reads it sees that
        if commit.offset < self._highest.get(where, 0):
            raise Violation(f"the commit of {where} goes back from {self._highest[where]} to {commit.offset}")
        if commit.offset > self.sources[where].stable_end:
            raise Violation(f"the commit of {where}, {commit.offset}, is past the end, {self.sources[where].stable_end}")
        self._highest[where] = commit.offset

    def lose_commits(self) -> None:
        """They expired, or somebody deleted the group."""
        self.commits.clear()
        self._highest.clear()
