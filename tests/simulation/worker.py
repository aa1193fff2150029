"""A worker process of the simulation: the engine's own parts, between a simulated broker and a handler that counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry

from streams.atrest.metrics import AtRestMetrics
from streams.atrest.table import SealedTable, SealRules
from streams.engine.checkpoint import Checkpoint
from streams.engine.handler import BatchHandler
from streams.engine.kafka.topics import OffsetAnswer, commit_in
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import ID_HEADER, LINK_LOST, Answer, Outputs, Row
from streams.engine.ownership import Ownership
from streams.engine.partition_worker import PartitionWorker
from streams.engine.positions import Positions
from streams.engine.records import BatchResult, FetchedRun, OutputRecord, PartitionState, SourceRecord, StateView, UnreadableRecord
from streams.engine.rejects import RejectGuard
from streams.engine.resume import Bounds, GroupCommit
from streams.engine.runner import Runner
from streams.engine.state import MemoryStore, StateTable, Table
from streams.engine.unpack import RecordBatch, unpack
from streams.errors import Reason, RecordError, TransientError
from streams.privacy.keys import StateKey
from streams.privacy.state_keys import StateKeys
from tests.simulation.broker import CHANGELOG, DATA_KEYS, DEAD, OUT, Broker, SourceBatch, Where
from tests.simulation.scheduler import Owner, Scheduler, SimEvent, SimRuntime

HEARTBEAT_S = 1.5
COMMIT_S = 0.8
TIMER_S = 2.0
MEMORY_TROUBLES_S = 60.0
"""So long memory may be short, where it is at all."""
EPOCH_S = 1_790_000_000.0
"""What the wall clock shows when a simulation begins."""
TOLD_EVERY = 3
"""The timer tells of a key each time that so many of its records came."""

MOVED_EVERY_S = 1.0
"""A step of sealing anew."""

LOST = Answer(LINK_LOST, -1)

STATE_KEYS = StateKeys.of(StateKey("s2", b"2" * 32), [StateKey("s1", b"1" * 32)])
SEALS = SealRules(STATE_KEYS, DATA_KEYS, moves_per_step=2)

METRICS = StageMetrics(CollectorRegistry(), "toy")
AT_REST = AtRestMetrics(CollectorRegistry(), "toy")
"""Shared by all workers of all schedules: making it costs as much as a schedule."""


def place_of(record: SourceRecord) -> bytes:
    """Source topic, partition and offset (base included) of a record, as outputs tell it."""
    return f"{record.topic}/{record.partition}/{record.offset}".encode()


_MOST_BYTES = 400
"""Few, so that of many answers only the first batches are unpacked."""


class Counting:
    """The stage: counts the records of each key and says the count; the timer tells of each key again and again. A BatchHandler and a
    FollowsPartitions. What a record is like is said by the first byte of its value: see ``world``."""

    def __init__(self, scheduler: Scheduler, slowness_s: float, memory_troubles: float) -> None:
        self._scheduler = scheduler
        self._rng: Random = scheduler.rng
        self._slowness_s = slowness_s
        self._memory_troubles = memory_troubles

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        if self._slowness_s:
            await self._scheduler.sleep(self._slowness_s * self._rng.random())
        result = BatchResult()
        known = dict(state.get_many(list({record.key for record in batch if record.key is not None})))
        for record in batch:
            key, value = record.key or b"", record.value or b""
            kind = value[:1]
            if kind == b"p":
                raise RecordError(Reason.POISON, "a value that the stage refuses")
            if kind == b"v":
                raise ValueError("something that nobody thought of")
            if self._scheduler.now < MEMORY_TROUBLES_S and self._rng.random() < self._memory_troubles:
                raise MemoryError
            count, told, applied = parse_state(known.get(key))
            if record.offset <= applied:
                continue  # it is in the state, so what it causes was written before
            if kind == b"z":
                result.erased.add(key)  # what was written of it before is not to be read any more
            known[key] = result.state[key] = b"%d:%d:%d" % (count + 1, told, record.offset)
            padding = b"!" * 700 if kind == b"h" else b""
            content = b"%s %s %d %s" % (place_of(record), key, count + 1, padding)
            result.outputs.append(OutputRecord(OUT, key, content, _id(place_of(record)), record.partition))
        return result

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        pass

    async def on_timer(self, partition: int, state: PartitionState) -> BatchResult:
        result = BatchResult()
        for key, value in state.items():
            count, told, applied = parse_state(value)
            for number in range(told + 1, count // TOLD_EVERY + 1):
                content = b"timer/%d %s %d " % (partition, key, number)
                result.outputs.append(OutputRecord(OUT, key, content, _id(content), partition))
                result.state[key] = b"%d:%d:%d" % (count, number, applied)
        return result


def parse_state(value: bytes | None) -> tuple[int, int, int]:
    """Of a key: how many records, how often the timer told, and the offset of the last record (base included)."""
    count, told, applied = (value or b"0:0:-1").split(b":")
    return int(count), int(told), int(applied)


def _id(of: bytes) -> bytes:
    return of[-16:].rjust(16, b".") if len(of) <= 16 else of[:4] + of[-12:]


class PlaceLetters:
    """Dead letters that say where the bad record was."""

    def build(self, record: SourceRecord, error: RecordError, *, attempt: int = 1) -> OutputRecord:
        last = record.last_offset if isinstance(record, UnreadableRecord) else record.offset
        content = b"%s %d %s" % (place_of(record), last, error.reason.value.encode())
        return OutputRecord(DEAD, None, content, _id(place_of(record)), record.partition, reason=error.reason.value)


@dataclass
class Disk:
    """The local halves of a worker's table: what a restart finds again, unless the disk is lost."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.offsets: dict[int, int] = {}
        """Next changelog offset by partition."""

    def get_many(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return self.store.get_many(partition, keys)

    def items(self, partition: int) -> Any:
        return self.store.items(partition)

    def scan(self, partition: int, after: bytes | None, most: int) -> list[tuple[bytes, bytes]]:
        return self.store.scan(partition, after, most)

    def put_many(self, partition: int, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        self.store.put_many(partition, changes, changelog_offset)
        if changelog_offset is not None:
            self.offsets[partition] = max(self.offsets.get(partition, 0), changelog_offset + 1)

    def drop(self, partition: int) -> None:
        self.store.drop(partition)
        self.offsets.pop(partition, None)


class Link:
    """The outputs' way to the broker. A ProduceLink."""

    def __init__(self, broker: Broker, scheduler: Scheduler) -> None:
        self._broker = broker
        self._scheduler = scheduler

    async def partition_count(self, topic: str) -> int:
        return self._broker.partitions

    async def warm_up(self, topic: str) -> None:
        pass

    async def new_producer(self) -> tuple[int, int]:
        return await self._broker.request(self._broker.new_producer)  # type: ignore[no-any-return]

    def encode(self, rows: Sequence[Row], producer: tuple[int, int], sequence: int) -> Any:
        return (list(rows), producer, sequence)

    async def produce(self, batches: Mapping[Where, Any], fences: Sequence[Callable[[], None]]) -> Mapping[Where, Answer]:
        await self._scheduler.sleep(0.005 * self._broker.rng.random())
        for fence in fences:
            fence()
        broker, rng = self._broker, self._broker.rng
        is_cut_off, arrives = self._scheduler.is_cut_off, rng.random() < 0.5
        if is_cut_off and not arrives:
            await self._scheduler.sleep(0.3)
            return dict.fromkeys(batches, LOST)
        answers: Mapping[Where, Answer] = await self._scheduler.elsewhere(
            lambda: broker.produce(batches), 0.002 + 0.008 * rng.random(), 0.002 + 0.008 * rng.random()
        )
        return dict.fromkeys(batches, LOST) if is_cut_off else answers

    async def pause(self, seconds: float) -> None:
        await self._scheduler.sleep(seconds)


class Topics:
    """The checkpoint's ``Log``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def _ask(self, effect: Callable[[], Any]) -> Any:
        def there() -> Any:
            return None if self._broker.is_deleted else effect()

        answer = await self._broker.request(there)
        if answer is None:
            raise TransientError("the topic is not there")
        return answer

    async def committed(self, topic: str, partition: int) -> GroupCommit | None:
        error, found = await self._ask(lambda: self._broker.committed((topic, partition)))
        return commit_in(OffsetAnswer(error, found), topic, partition)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        if topic == DATA_KEYS:
            return await self._broker.request(lambda: Bounds(0, len(self._broker.logs[(topic, partition)].rows)))  # type: ignore[no-any-return]
        return await self._ask(lambda: self._broker.bounds((topic, partition)))  # type: ignore[no-any-return]

    async def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[SourceRecord]]:
        rows = await self._broker.request(lambda: self._broker.logs[(topic, partition)].rows[begin:end])
        yield [SimRecord(topic, partition, begin + place, 0, key, value) for place, (key, value, _) in enumerate(rows)]

    async def incarnation(self, topic: str) -> int:
        return await self._ask(self._broker.incarnation_now)  # type: ignore[no-any-return]

    async def output_bounds(self, where: Iterable[Where]) -> tuple[Positions, Positions]:
        wanted = list(where)

        def ends() -> tuple[Positions, Positions]:
            return dict.fromkeys(wanted, 0), {w: len(self._broker.logs[w].rows) for w in wanted}

        return await self._ask(ends)  # type: ignore[no-any-return]

    async def stamps(self, begins: Positions, ends: Positions, tag: bytes) -> Mapping[bytes, set[tuple[str, bytes]]]:
        def read() -> dict[bytes, set[tuple[str, bytes]]]:
            found: dict[bytes, set[tuple[str, bytes]]] = {}
            for where, end in ends.items():
                for _, _, headers in self._broker.logs[where].rows[begins[where] : end]:
                    for name, stamp in headers:
                        if name == ID_HEADER and stamp[16:20] == tag:
                            found.setdefault(stamp[20:], set()).add((where[0], stamp[:16]))
            return found

        return await self._ask(read)  # type: ignore[no-any-return]

    async def last_records(self, topic: str, partitions: int, count: int) -> list[SourceRecord]:
        return []


@dataclass(slots=True)
class _Cursor:
    offset: int
    base: int
    number: int
    is_busy: bool = False
    answered_at: float = 0.0
    watched_since: float | None = None
    """Since when a request waits at the broker for something to come."""


class Fetcher:
    """A Fetching: what it brings arrives in order, but perhaps much later."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._broker = worker.broker
        self._rng = worker.broker.rng
        self._cursors: dict[Where, _Cursor] = {}
        self._wake: SimEvent = worker.runtime.event()
        self._belt: list[FetchedRun] = []
        self._arrived: SimEvent = worker.runtime.event()
        self.wake = self._wake.set
        worker.broker.appended.append(self._wake.set)

    def open(self, topic: str, partition: int, offset: int, base: int, cursor: int) -> None:
        self._cursors[(topic, partition)] = _Cursor(offset, base, cursor, answered_at=self._worker.scheduler.now)
        self._wake.set()

    def close(self, topic: str, partition: int) -> None:
        self._cursors.pop((topic, partition), None)

    async def run(self) -> None:
        worker, broker = self._worker, self._broker
        while True:
            self._wake.clear()
            for where, cursor in list(self._cursors.items()):
                if cursor.is_busy or not worker.runner.has_room(*where):
                    continue
                if broker.is_deleted or cursor.offset != broker.sources[where].stable_end:
                    cursor.is_busy = True
                    worker.spawn(self._fetch(where, cursor))
                elif worker.cut_until <= worker.scheduler.now:
                    since = cursor.answered_at if cursor.watched_since is None else cursor.watched_since
                    if max(worker.stopped_until, worker.cut_until) > since:
                        worker.question(where[1])  # the first answer after a silence, though an empty one
                    cursor.watched_since = worker.scheduler.now
            await self._wake.wait()

    async def hand_over(self) -> None:
        """Faust's stream, through which runs reach the runner."""
        while True:
            while self._belt:
                if self._rng.random() < self._worker.laziness:
                    await self._worker.runtime.sleep(3 * self._rng.random())
                self._worker.runner.deliver(self._belt.pop(0))
            self._arrived.clear()
            await self._arrived.wait()

    async def _fetch(self, where: Where, cursor: _Cursor) -> None:
        most = 1 + int(self._rng.random() * 3)
        asked_at = self._worker.scheduler.now
        try:
            answer = await self._broker.request(lambda: self._broker.fetch(where, cursor.offset, most))
        except TransientError:
            await self._later(cursor)
            return
        if self._cursors.get(where) is not cursor:
            return
        if answer.error:
            self._worker.question(where[1])
            await self._later(cursor)
            return
        # A process that was stopped, or could not reach the broker, did not see how its request ended.
        unaware_until = max(self._worker.stopped_until, self._worker.cut_until)
        is_watched = cursor.watched_since is not None and unaware_until <= cursor.watched_since
        if not is_watched and asked_at - cursor.answered_at > 1.0:
            self._worker.question(where[1])
        cursor.answered_at, cursor.watched_since = self._worker.scheduler.now, None
        unpacked = unpack(
            answer.batches, topic=where[0], partition=where[1], fetch_offset=cursor.offset, base=cursor.base,
            aborted=answer.aborted, rescue=_rescue, most_bytes=_MOST_BYTES,
        )  # fmt: skip
        if unpacked.next_offset > cursor.offset:
            run = FetchedRun(
                where[0], where[1], cursor.number, cursor.offset + cursor.base, unpacked.next_offset + cursor.base,
                unpacked.records, unpacked.size,
            )  # fmt: skip
            cursor.offset = unpacked.next_offset
            self._belt.append(run)
            self._arrived.set()
        cursor.is_busy = False
        self._wake.set()

    async def _later(self, cursor: _Cursor) -> None:
        await self._worker.runtime.sleep(0.3)
        cursor.is_busy = False
        self._wake.set()


def _rescue(batch: RecordBatch, topic: str, partition: int) -> Sequence[SourceRecord | UnreadableRecord]:
    assert isinstance(batch, SourceBatch)
    return [
        UnreadableRecord(topic, partition, record.offset, record.offset, 0, None, None, (), "a header")
        if place == batch.bad
        else SimRecord(topic, partition, record.offset, record.timestamp, record.key, record.value)
        for place, record in enumerate(batch.records)
    ]


@dataclass(frozen=True, slots=True)
class SimRecord:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Traits:
    """How a schedule's workers are."""

    max_records: int
    keeps_state_in_memory: bool
    laziness: float
    slowness_s: float
    memory_troubles: float
    seals: bool = False


class Worker(Owner):
    """``disk`` outlives it."""

    outputs_of: ClassVar[Mapping[str, bool]] = {OUT: True, DEAD: True}

    def __init__(self, name: str, broker: Broker, disk: Disk, traits: Traits) -> None:
        super().__init__(name)
        self.broker = broker
        self.scheduler = broker.scheduler
        self.disk = disk
        self.traits = traits
        self.laziness = traits.laziness
        self.runtime = SimRuntime(self.scheduler, self)
        self.failure: BaseException | None = None
        self.is_leaving = False
        self.ownership = Ownership(6.0, seconds=self._seconds)
        self.outputs = Outputs(Link(broker, self.scheduler), lock=self.runtime.lock)
        self.handler = self.make_handler()
        self.topics = Topics(broker)
        self.table: Table = StateTable(disk, CHANGELOG, self.outputs)
        if traits.seals:
            self.table = SealedTable(disk, CHANGELOG, self.outputs, "toy", rules=SEALS, key_log=self.topics, metrics=AT_REST)
        self.runner = Runner(
            stage="toy",
            sources=broker.source_topics,
            make_worker=self._make_partition_worker,
            ownership=self.ownership,
            committer=self,
            runtime=self.runtime,
            drain_s=3.0,
        )
        self.fetcher = Fetcher(self)
        self._committing = self.runtime.lock()
        self._generation = -1
        self._owned: Set[Where] = frozenset()
        self._rejects = RejectGuard(1.0, 1_000_000)

    def make_handler(self) -> BatchHandler:
        """The stage."""
        return Counting(self.scheduler, self.traits.slowness_s, self.traits.memory_troubles)

    def start(self) -> None:
        for work in (self._belong(), self._every(COMMIT_S, self.runner.commit), self._every(TIMER_S, self._request_timers)):
            self.spawn(work)
        if self.traits.seals:
            self.spawn(self._every(MOVED_EVERY_S, self._request_upkeep))
        self.spawn(self.fetcher.run())
        self.spawn(self.fetcher.hand_over())
        self.spawn(self._heartbeats())

    def spawn(self, work: Any) -> None:
        self.scheduler.spawn(work, self, self.fail)

    def fail(self, error: BaseException) -> None:
        self.failure = self.failure or error

    def question(self, partition: int) -> None:
        if partition in self.runner.workers:
            self.runner.workers[partition].question()

    async def commit(self, commits: Mapping[Where, GroupCommit]) -> bool:
        """A Committer's: one after another, as on one connection."""
        await self._committing.acquire()
        try:
            taken = await self.broker.request(lambda: self.broker.commit(self.name, self._generation, commits))
        finally:
            self._committing.release()
        if taken is None:
            raise TransientError("the coordinator is loading")
        return bool(taken)

    async def leave(self) -> None:
        """An orderly stop."""
        self.is_leaving = True
        for partition_worker in self.runner.workers.values():
            partition_worker.drain()
        await self.runner.idle(5.0)
        await self.runner.commit()
        self.runner.stop()
        await self.scheduler.elsewhere(lambda: self.broker.leave(self.name), 0.005, 0.005)

    def _seconds(self) -> float:
        return self.scheduler.now

    def _make_partition_worker(self, partition: int) -> PartitionWorker:
        checkpoint = Checkpoint(
            stage="toy",
            partition=partition,
            handler=self.handler,
            outputs_of=self.outputs_of,
            ownership=self.ownership,
            outputs=self.outputs,
            table=self.table,
            topics=self.topics,
            committer=self,
            dead_letters=PlaceLetters(),
            rejects=self._rejects,
            metrics=METRICS,
            now_s=lambda: EPOCH_S + self.scheduler.now,
            pause=self.runtime.sleep,
        )
        return PartitionWorker(
            partition,
            sources=self.broker.source_topics,
            checkpoint=checkpoint,
            fetching=self.fetcher,
            runtime=self.runtime,
            max_records=self.traits.max_records,
            max_bytes=400,
            fail=self.fail,
        )

    async def _every(self, seconds: float, action: Callable[[], Any]) -> None:
        while True:
            await self.runtime.sleep(seconds)
            done = action()
            if done is not None:
                await done

    def _request_timers(self) -> None:
        self.runner.request_timers()

    def _request_upkeep(self) -> None:
        self.runner.request_upkeep()

    # --- the group

    async def _heartbeats(self) -> None:
        self._moved: SimEvent = self.runtime.event()
        while True:
            await self.runtime.sleep(HEARTBEAT_S)
            if self._generation < 0:
                continue
            generation, sent_at = self._generation, self.scheduler.now
            try:
                answer = await self.broker.request(lambda g=generation: self.broker.heartbeat(self.name, g))
            except TransientError:
                continue
            if answer == "unknown":
                if generation == self._generation:
                    self._moved.set()
                continue
            self.ownership.renew(sent_at)
            if answer == "rebalance":
                self._moved.set()

    async def _belong(self) -> None:
        while not self.is_leaving:
            generation, owned = await self._join()
            await self._recover(owned)
            self._generation, self._owned = generation, owned
            self.runner.on_assigned(owned, generation)
            self._moved.clear()
            await self._moved.wait()
            await self.runner.on_revoking()
            self._generation = -1

    async def _join(self) -> tuple[int, Set[Where]]:
        while True:
            try:
                await self.broker.request(lambda: self.broker.join(self.name))
                while True:
                    await self.runtime.sleep(0.4)
                    sent_at = self.scheduler.now
                    found = await self.broker.request(self._assignment)
                    if found == "unknown":
                        break
                    if found is not None:
                        self.ownership.renew(sent_at)
                        return found[0], frozenset(found[1])
            except TransientError:
                await self.runtime.sleep(0.2)

    def _assignment(self) -> Any:
        try:
            return self.broker.assignment(self.name)
        except KeyError:
            return "unknown"

    async def _recover(self, owned: Set[Where]) -> None:
        """Bring the local state up to the changelog's end, as Faust does."""
        for partition in {p for _, p in owned}:
            if self.traits.keeps_state_in_memory and not any(p == partition for _, p in self._owned):
                self.disk.drop(partition)
            while True:
                try:
                    rows, end = await self.broker.request(lambda p=partition: self._changes(p))
                    break
                except TransientError:
                    await self.runtime.sleep(0.2)
            if end > self.disk.offsets.get(partition, 0):
                self.disk.put_many(partition, rows, end - 1)

    def _changes(self, partition: int) -> tuple[dict[bytes, bytes | None], int]:
        rows = self.broker.logs[(CHANGELOG, partition)].rows
        return {key or b"": value for key, value, _ in rows[self.disk.offsets.get(partition, 0) :]}, len(rows)
