"""Runs a stage's handler over fetched batches: outputs, then state, then the ledger; halves a batch that raises."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, runtime_checkable

from streams.engine.faust.batch import FetchedBatch
from streams.engine.ledger import Commit, CommitLedger
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import OutputWriter, source_tag
from streams.engine.positions import Positions, decode_positions, encode_positions
from streams.engine.records import BatchHandler, BatchResult, OutputRecord, SourceRecord
from streams.engine.rejects import RejectGuard
from streams.engine.state import NoState, StateTable
from streams.engine.tail import TailReader
from streams.errors import FatalError, Reason, RecordError, TransientError

log = logging.getLogger(__name__)

MAX_BACKOFF_S = 10.0
RENEW_AFTER_RECORDS = 10_000
"""An idle partition's committed output positions are renewed when the outputs have moved on by this much, so that a
later take-over reads a short tail."""
REMEMBERED_MOST = 100_000
"""Outputs a partition, found at a take-over and not caused again, that are remembered."""


class DeadLetters(Protocol):
    def build(self, record: SourceRecord, error: RecordError, *, attempt: int = 1) -> OutputRecord: ...


@runtime_checkable
class PartitionOwner(Protocol):
    """What a handler may implement besides being called: it follows the partitions it works for."""

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None: ...
    async def on_timer(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> BatchResult: ...


@runtime_checkable
class Unprompted(Protocol):
    """A PartitionOwner whose timer has something to do also where nothing has been processed yet."""

    unprompted: Literal[True]


@runtime_checkable
class Recalls(Protocol):
    """What a handler may implement besides being called: it looks at the last records of one of its outputs when it takes
    over, from whoever wrote them."""

    recalls: tuple[str, int]
    """Output topic, and how many of its last records."""

    def recall(self, records: Sequence[SourceRecord]) -> None: ...


@dataclass(slots=True)
class _Lane:
    """What the sources of one partition number share: a stage that joins co-partitioned topics may cause the same output
    from either of them."""

    tag: bytes
    written: set[tuple[str, bytes]] = field(default_factory=set)
    """Outputs that are at the broker while the state that goes with them may not be."""
    remembered: set[tuple[str, bytes]] = field(default_factory=set)
    """Those of them that no source record has caused again: a timer may."""


@dataclass(slots=True)
class _Source:
    """One source partition as this worker knows it."""

    lane: _Lane
    outputs: frozenset[tuple[str, int]] = frozenset()
    generation: int | None = None
    """The group generation in which it was taken over."""
    is_sure: bool = False
    """False: look (again) at what is written before the next write."""
    next_offset: int = -1
    settled_at: int = 0
    """Source offset from which on nothing can have been written before the take-over."""
    committed_positions: Positions = field(default_factory=dict)


class BatchRunner:
    """One a stage and process. Batches of one partition number (of any source) are run strictly one after the other, in the order
    of the calls; those of different ones overlap, so that one is computed while another waits for the broker.

    ``outputs`` maps each output topic to whether it is written only to the source's own partition number. ``sources`` are the full
    names of the stage's source topics where it has several.
    """

    def __init__(
        self,
        *,
        stage: str,
        handler: BatchHandler,
        outputs: Mapping[str, bool],
        table: StateTable | NoState,
        writer: OutputWriter,
        tail: TailReader,
        ledger: CommitLedger,
        dead_letters: DeadLetters,
        rejects: RejectGuard,
        metrics: StageMetrics,
        commit_now: Callable[[], Awaitable[None]],
        sources: Sequence[str] = (),
        before_partition: Callable[[int], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._stage = stage
        self._handler = handler
        self._outputs = dict(outputs)
        self._table = table
        self._writer = writer
        self._tail = tail
        self._ledger = ledger
        self._dead_letters = dead_letters
        self._rejects = rejects
        self._metrics = metrics
        self._source_topics = tuple(sources)
        self._before_partition = before_partition
        self._sleep = sleep
        self._commit_now = commit_now
        self._sources: dict[tuple[str, int], _Source] = {}
        self._lanes: dict[int, _Lane] = {}
        self._owned: set[tuple[str, int]] = set()
        self._generation = -1
        self._recalled_in: int | None = None
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._taking_over = asyncio.Lock()

    async def run(self, batch: FetchedBatch) -> None:
        """Apply a batch completely. Returns when all its effects are acknowledged; raises FatalError only."""
        async with self._locks[batch.partition]:
            await self._insist((batch.topic, batch.partition), lambda: self._run_once(batch))

    async def close_due(self) -> None:
        """Let a handler that follows time do what is due, for every partition of its first source. Raises FatalError only."""
        if not isinstance(self._handler, PartitionOwner):
            return
        for key in sorted(self._owned):
            if key[0] == self._source_topics[0]:
                async with self._locks[key[1]]:
                    await self._insist(key, functools.partial(self._close_due, key))

    def keep_only(self, owned: Set[tuple[str, int]], generation: int) -> None:
        """Partitions that are no longer owned will be taken over anew should they come back."""
        self._owned = set(owned)
        self._generation = generation
        for key in [key for key in self._sources if key not in owned]:
            del self._sources[key]
        for partition in [p for p in self._lanes if not any(key[1] == p for key in self._sources)]:
            del self._lanes[partition]

    @property
    def is_busy(self) -> bool:
        """True while a batch is being applied."""
        return any(lock.locked() for lock in self._locks.values())

    def applied(self, key: tuple[str, int]) -> int | None:
        """The next source offset to apply; None before the first batch."""
        source = self._sources.get(key)
        return None if source is None or source.next_offset < 0 else source.next_offset

    def renew_idle(self) -> None:
        """Refresh the committed output positions of partitions at rest (their offsets stay as they are)."""
        for key, source in self._sources.items():
            if not source.is_sure or source.next_offset < 0 or not self._ledger.is_idle(key):
                continue
            now = self._positions(source)
            moved = max((now[k] - source.committed_positions.get(k, 0) for k in now), default=0)
            if moved >= RENEW_AFTER_RECORDS and self._ledger.committable(key) is None:
                source.committed_positions = now
                self._ledger.renew(key, Commit(source.next_offset, encode_positions(now)))

    async def _insist(self, key: tuple[str, int], attempt: Callable[[], Awaitable[None]]) -> None:
        delay = 0.1
        while True:
            try:
                await attempt()
                return
            except TransientError as error:
                self._metrics.retries.inc()
                log.warning("%s: %s; trying again in %.1f s", self._stage, error, delay)
                for (_, partition), source in self._sources.items():
                    if partition == key[1]:
                        # The broker may have written what it did not acknowledge: look before writing again.
                        source.is_sure = False
                await self._sleep(delay)
                delay = min(delay * 2, MAX_BACKOFF_S)

    async def _close_due(self, key: tuple[str, int]) -> None:
        source = self._sources.get(key)
        if source is None or not source.is_sure:
            if not isinstance(self._handler, Unprompted) and await self._tail.committed(*key) is None:
                return  # nothing of it was ever processed
            source = await self._take_over(key, self._generation)
        owner = cast(PartitionOwner, self._handler)
        result = await owner.on_timer(key[1], self._table.items(key[1]))
        await self._write(source, key[1], result)

    async def _run_once(self, batch: FetchedBatch) -> None:
        key = (batch.topic, batch.partition)
        first = batch.records[0].offset
        source = await self._take_over(key, batch.generation)
        records = batch.records
        if batch.begins > source.next_offset:
            # Not done, so not committed: the watchdog has it fetched again, from the last commit on.
            log.warning("%s: what comes before %s/%d/%d is missing; left until it comes", self._stage, *key, batch.begins)
            return
        if first < source.next_offset:
            records = [record for record in records if record.offset >= source.next_offset]
        if records:
            await self._run_parts(source, batch.partition, records)
        source.next_offset = max(source.next_offset, batch.records[-1].offset + 1)
        self._settle(source.lane, batch.partition)
        positions = self._positions(source)
        if self._ledger.done(key, first, encode_positions(positions)):
            source.committed_positions = positions

    async def _run_parts(self, source: _Source, partition: int, records: Sequence[SourceRecord]) -> None:
        """A stack instead of recursion: the first half is written before the second is handled, since it changes the state."""
        stack: list[Sequence[SourceRecord]] = [records]
        while stack:
            part = stack.pop()
            try:
                result = await self._handle(part, partition)
                await self._write(source, partition, result)
            except RecordError as error:
                self._metrics.handler_errors.inc()
                if len(part) > 1:
                    middle = len(part) // 2
                    stack += [part[middle:], part[:middle]]
                    continue
                result = self._bury(part[0], error)
                await self._write(source, partition, result)
            self._rejects.observe(result.rejected, len(part), result.reasons)
            self._metrics.records.inc(len(part))
            self._metrics.rejected.inc(result.rejected)

    async def _handle(self, part: Sequence[SourceRecord], partition: int) -> BatchResult:
        """The handler's answer; whatever it raises about these records becomes a RecordError."""
        try:
            with self._metrics.handler_seconds.time():
                return await self._handler(part, self._table.view(partition))
        except (FatalError, TransientError, RecordError):
            raise
        except Exception as error:
            raise RecordError(Reason.POISON, f"{type(error).__name__} in stage {self._stage}") from error

    def _bury(self, record: SourceRecord, error: RecordError) -> BatchResult:
        # Only the position, the reason and an exception's class are told: its text may quote the record.
        where = f"{record.topic}/{record.partition}/{record.offset}"
        log.warning("%s: dead-lettering %s: %s", self._stage, where, error.detail or error.reason.value)
        return BatchResult([self._dead_letters.build(record, error, attempt=2)], {}, 1, {error.reason.value: 1})

    async def _write(self, source: _Source, partition: int, result: BatchResult) -> None:
        written, remembered = source.lane.written, source.lane.remembered
        outputs = result.outputs
        if written or remembered:
            outputs = [o for o in outputs if (o.topic, o.record_id) not in written and (o.topic, o.record_id) not in remembered]
            self._metrics.suppressed.inc(len(result.outputs) - len(outputs))
        if outputs:
            with self._metrics.write_seconds.time():
                await self._writer.write(outputs, source.lane.tag)
            self._metrics.outputs.inc(len(outputs))
        if result.state:
            await self._table.apply(partition, result.state)
        if written or remembered:
            again = {(o.topic, o.record_id) for o in result.outputs}
            written -= again
            remembered -= again

    async def _take_over(self, key: tuple[str, int], generation: int) -> _Source:
        source = self._sources.get(key)
        if source is not None and source.is_sure and source.generation == generation:
            return source
        async with self._taking_over:  # one tail reader serves all
            for topic in self._source_topics:
                # What one source caused, another may cause again: all that is written must be known before anything more is.
                sibling = (topic, key[1])
                if sibling != key and sibling in self._owned:
                    await self._take_over_now(sibling, generation)
            return await self._take_over_now(key, generation)

    async def _take_over_now(self, key: tuple[str, int], generation: int) -> _Source:
        source = self._sources.get(key)
        if source is not None and source.is_sure and source.generation == generation:
            return source
        topic, partition = key
        if source is None:
            lane = self._lanes.setdefault(partition, _Lane(source_tag(self._stage, partition)))
            source = self._sources[key] = _Source(lane)
        source.outputs = await self._reachable(partition)
        if self._before_partition is not None:
            await self._before_partition(partition)
        committed = await self._tail.committed(topic, partition)
        positions = decode_positions(committed.metadata) if committed is not None else None
        if committed is None or positions is None:
            committed, positions = await self._begin(key, source, committed)
        else:
            found, _ = await self._tail.ids_since({where: positions.get(where, 0) for where in source.outputs}, source.lane.tag)
            source.lane.written |= found
            source.settled_at = await self._tail.end(topic, partition)
            if found:
                log.info("%s: took over %s/%d; %d outputs are already written", self._stage, topic, partition, len(found))
        source.committed_positions = positions
        for where, offset in positions.items():
            self._writer.positions[where] = max(self._writer.positions.get(where, 0), offset)
        if isinstance(self._handler, Recalls) and self._recalled_in != generation:
            recalled_topic, count = self._handler.recalls
            self._handler.recall(await self._tail.last_records(recalled_topic, await self._writer.partition_count(recalled_topic), count))
            self._recalled_in = generation
        if isinstance(self._handler, PartitionOwner):
            await self._handler.on_assigned(partition, self._table.items(partition))
        if source.generation != generation:
            source.generation = generation
            source.next_offset = committed.offset
        source.is_sure = True
        return source

    async def _begin(self, key: tuple[str, int], source: _Source, committed: Commit | None) -> tuple[Commit, Positions]:
        """Never committed by this product: nothing of this partition is in the outputs yet. That is committed before anything
        is written, so that a crash within the very first batch finds a beginning."""
        offset = committed.offset if committed is not None else await self._tail.beginning(*key)
        positions = await self._tail.ends(source.outputs)
        commit = Commit(offset, encode_positions(positions))
        self._ledger.renew(key, commit)
        await self._commit_now()
        if self._ledger.committable(key) == commit:
            raise TransientError(f"the group would not take the first commit of {key[0]}/{key[1]}")
        return commit, positions

    async def _reachable(self, partition: int) -> frozenset[tuple[str, int]]:
        """The output partitions that a source partition's records can cause anything in."""
        found: set[tuple[str, int]] = set()
        for topic, aligned in self._outputs.items():
            found |= {(topic, p) for p in ([partition] if aligned else range(await self._writer.partition_count(topic)))}
        return frozenset(found)

    def _settle(self, lane: _Lane, partition: int) -> None:
        if lane.written and all(s.next_offset >= s.settled_at for (_, p), s in self._sources.items() if p == partition):
            if len(lane.remembered) < REMEMBERED_MOST:
                lane.remembered |= lane.written
            lane.written.clear()

    def _positions(self, source: _Source) -> Positions:
        if source.lane.written:
            # Outputs of source records still to come may lie before what this worker wrote last.
            return source.committed_positions
        known = self._writer.positions
        return {where: known.get(where, 0) for where in source.outputs}
