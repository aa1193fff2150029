"""The one place that knows, for one partition number, what is delivered, written, applied and committed, by whom and until when.

The protocol, step by step. Everything else in the engine only carries these steps out.

Taking a partition over (``take_over``), before anything of it is handled:

1. The fence: it must be this worker's, in this generation.
2. The read models that the stage needs are caught up.
3. The group's commit is read, with the bounds and the identity of the source topic; ``resume`` says where to begin. An error of the
   coordinator is an error, never "nothing committed".
4. Whatever the uncommitted records may have caused is looked up in the outputs: from the positions in the commit's note on, or from
   the very beginning where there is no note. Its ids are *written*.
5. Where nothing was committed, or offsets begin anew, that beginning is committed before anything is written.
6. The handler warms up, and gets its partition's state.

A batch (``compute``, then ``settle``; the next batch is computed while this one settles):

7. Only what follows on what is applied, without a gap, is handled; what is applied already is left out.
8. The handler answers with outputs and state. A batch that it refuses is handled again in halves, each settled before the next is
   handled, until the bad record stands alone and a dead letter takes its place.
9. Outputs that are not *written* already are written and acknowledged; the fence is asked before each request.
10. State goes to the changelog, fenced and acknowledged, then to the local store.
11. The source's next offset is offered for a commit, with the outputs' positions as they stand now (as they stood, while *written* ones are
    still to be caused again). Commits never go back.

After a write of which it is not known whether it happened, 1 to 6 are done again before anything is written.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from streams.engine.faults import is_infrastructure
from streams.engine.handler import BatchHandler, FollowsPartitions, RecallsOutputs, TimerFromStart, WarmsUp
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import Outputs, source_tag
from streams.engine.ownership import Ownership
from streams.engine.ports import DeadLetters
from streams.engine.positions import CommitNote, Positions, encode_note
from streams.engine.queues import Batch
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, UnreadableRecord
from streams.engine.rejects import RejectGuard
from streams.engine.resume import Bounds, GroupCommit, Seen, needs_all_outputs, start_of
from streams.engine.state import NoState, StateTable
from streams.errors import FATAL, FatalError, GroupPositionLost, Reason, RecordError, TransientError

log = logging.getLogger(__name__)

RENEW_AFTER_RECORDS = 10_000
"""An idle partition's committed output positions are renewed when the outputs have moved on by this much, so that a
later take-over reads a short tail."""
REMEMBERED_MOST = 100_000
"""Outputs a partition, found at a take-over and not caused again, that are remembered."""
_TRIES_ALONE = 3
"""A record that raises something unknown is dead-lettered when it does so as often, alone."""


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


@dataclass(slots=True)
class Offer:
    """What may be committed; made into a commit when that is asked for, which is much less often than it changes."""

    offset: int
    positions: Positions
    base: int
    incarnation: int
    _commit: GroupCommit | None = None

    def commit(self) -> GroupCommit:
        if self._commit is None:
            self._commit = GroupCommit(self.offset, encode_note(CommitNote(self.positions, self.base, self.incarnation)))
        return self._commit


@dataclass(slots=True)
class _Source:
    """One source topic of the partition number."""

    next_offset: int = -1
    """To be applied next, base included."""
    base: int = 0
    incarnation: int = 0
    settled_at: int = 0
    """Source offset from which on nothing can have been written before the take-over."""
    committed: int = -1
    positions: Positions = field(default_factory=dict)
    """As committed last, or offered."""
    offer: Offer | None = None


class Prepared(NamedTuple):
    """A computed batch. ``result`` is None where it has to be handled again in halves; nothing may be computed before that is settled."""

    batch: Batch
    records: Sequence[SourceRecord | UnreadableRecord]
    result: BatchResult | None


class Checkpoint:
    """For one stage, one partition number and all the stage's source topics that are co-partitioned in it.

    Calls follow one another: ``take_over`` first; then ``compute`` may overlap with the one ``settle`` before it, and nothing else with
    anything. ``outputs_of`` maps each output topic to whether it is written only to the source's own partition number.
    """

    def __init__(
        self,
        *,
        stage: str,
        partition: int,
        handler: BatchHandler,
        outputs_of: Mapping[str, bool],
        ownership: Ownership,
        outputs: Outputs,
        table: StateTable | NoState,
        topics: Log,
        committer: Committer,
        dead_letters: DeadLetters,
        rejects: RejectGuard,
        metrics: StageMetrics,
        now_s: Callable[[], float],
        lookup_most: int = 5_000_000,
        pause: Callable[[float], Awaitable[None]],
        catch_up: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._stage = stage
        self._partition = partition
        self._handler = handler
        self._recalls = handler if isinstance(handler, RecallsOutputs) else None
        self._warms_up = handler if isinstance(handler, WarmsUp) else None
        self._follows = handler if isinstance(handler, FollowsPartitions) else None
        self._timer_from_start = isinstance(handler, TimerFromStart)
        self._outputs_of = dict(outputs_of)
        self._ownership = ownership
        self._outputs = outputs
        self._table = table
        self._log = topics
        self._committer = committer
        self._dead_letters = dead_letters
        self._rejects = rejects
        self._metrics = metrics
        self._now_s = now_s
        self._lookup_most = lookup_most
        self._pause = pause
        self._catch_up = catch_up
        self._tag = source_tag(stage, partition)
        self._sources: dict[str, _Source] = {}
        self._reachable: tuple[tuple[str, int], ...] = ()
        self._generation = -1
        self._is_sure = False
        self._written: set[tuple[str, bytes]] = set()
        self._remembered: set[tuple[str, bytes]] = set()
        """Written ones that no source record has caused again: a timer may."""
        self._settling: Mapping[bytes, bytes | None] = {}
        """State of the batch that is being settled: the next one is computed on top of it."""
        self._computed_to: dict[str, int] = {}
        """What is computed, though perhaps not yet settled, ends there."""
        self._refused_until: dict[str, int] = {}
        """Up to there a batch is handled in halves: the broker refused something of it as a whole."""

    # --- what it knows

    @property
    def generation(self) -> int:
        """The generation in which it was taken over, or went on."""
        return self._generation

    @property
    def is_sure(self) -> bool:
        """False where what is written has to be looked up before anything more is."""
        return self._is_sure

    @property
    def sources(self) -> tuple[str, ...]:
        """The source topics that it was taken over with."""
        return tuple(self._sources)

    def rewind(self, topic: str) -> None:
        """What is computed next begins at what is applied."""
        self._computed_to.pop(topic, None)

    def next_offset(self, topic: str) -> int:
        """The source offset to be applied next, base included."""
        return self._sources[topic].next_offset

    def base(self, topic: str) -> int:
        """What is added to the topic's own offsets."""
        return self._sources[topic].base

    def incarnation(self, topic: str) -> int:
        return self._sources[topic].incarnation

    def applied(self, topic: str) -> int | None:
        """The next offset to apply, as the topic counts; None before the partition is taken over."""
        source = self._sources.get(topic)
        return None if source is None or source.next_offset < 0 else source.next_offset - source.base

    def distrust(self) -> None:
        """It is not known whether a write happened: take over again before the next one."""
        self._is_sure = False

    def go_on(self, generation: int) -> None:
        """The group moved on by one generation and this worker kept the partition: nobody else had it in between."""
        self._generation = generation
        self._computed_to = {}

    async def is_as_left(self) -> bool:
        """Whether the sources are the topics that they were when the partition was taken over, and hold what is to be applied next. Raises
        TransientError."""
        for topic, source in self._sources.items():
            if not source.incarnation or await self._log.incarnation(topic) != source.incarnation:
                return False  # a broker that tells no identity may have another topic by now
            begin, end = await self._log.bounds(topic, self._partition)
            if not begin <= source.next_offset - source.base <= end:
                return False
        return True

    # --- steps 1 to 6

    async def take_over(self, topics: Sequence[str], generation: int) -> None:
        """Raises NotOwner, TransientError, or FatalError."""
        if generation != self._generation:
            for source in self._sources.values():
                source.offer = None  # somebody else may have gone further in between
        self._is_sure = False
        self._generation = generation
        self._settling = {}
        self._computed_to = {}
        self._fence(topics)
        # What is settled stays settled, whatever failed after it: without this, a stage that often fails would never get on.
        await self._commit(dict(self.offers()))
        self._reachable = await self._find_reachable()
        if self._catch_up is not None:
            await self._catch_up(self._partition)
        self._sources = {topic: self._sources.get(topic, _Source()) for topic in topics}
        self._written.clear()
        first: dict[tuple[str, int], GroupCommit] = {}
        for topic in topics:
            commit = await self._begin(topic)
            if commit is not None:
                first[(topic, self._partition)] = commit
        if first:
            self._fence(topics)
            await self._commit(first)
        if self._recalls is not None:
            recalled, count = self._recalls.recalls
            self._recalls.recall(await self._log.last_records(recalled, await self._outputs.partition_count(recalled), count))
        if self._warms_up is not None:
            await self._warms_up.warm_up()
        if self._follows is not None:
            await self._follows.on_assigned(self._partition, self._table.items(self._partition))
        self._fence(topics)
        self._is_sure = True

    async def _commit(self, commits: Mapping[tuple[str, int], GroupCommit]) -> None:
        if commits and not await self._committer.commit(commits):
            raise TransientError(f"the group would not take a commit of partition {self._partition}")
        for (topic, _), commit in commits.items():
            self.committed(topic, commit)

    async def _begin(self, topic: str) -> GroupCommit | None:
        """Find where to begin with one source; the commit to make first, if any."""
        source = self._sources[topic]
        commit = await self._log.committed(topic, self._partition)
        bounds = await self._log.bounds(topic, self._partition)
        incarnation = await self._log.incarnation(topic)
        first, ends = await self._log.output_bounds(self._reachable)
        own = _stamp(incarnation, 0)
        seen: Seen | None = None
        if needs_all_outputs(commit):
            total = sum(ends[where] - first[where] for where in ends)
            if total > self._lookup_most:
                raise GroupPositionLost(
                    f"the group has no offset of {topic}/{self._partition} that this product made, and its outputs hold {total}, too "
                    "many to find out what is written already; raise VEILSTREAM_LOOKUP_MAX_RECORDS (some 150 bytes of memory each), or let "
                    "the stage begin anew under another VEILSTREAM_APP_PREFIX and VEILSTREAM_TOPIC_PREFIX"
                )
            found = await self._log.stamps(first, ends, self._tag)
            mine = {stamp: ids for stamp, ids in found.items() if stamp[:4] == own[:4] or len(stamp) < 4 or not incarnation}
            ids = set().union(*mine.values())
            others = max((_base_of(stamp) for stamp in found.keys() - mine.keys()), default=-1)
            seen = Seen(ids, max((_base_of(stamp) for stamp in mine), default=0), others)
        start = start_of(commit, bounds, incarnation, seen, self._now_s())
        if seen is not None:
            self._written |= seen.ids
            if seen.ids:
                log.warning(
                    "%s: the group has no position of %s/%d, though %d outputs of it are written; they will not be written again",
                    self._stage, topic, self._partition, len(seen.ids),
                )  # fmt: skip
            positions = {where: first[where] for where in self._reachable} if seen.ids else ends
        else:
            positions = dict(start.positions or {})
            begins = {where: max(positions.get(where, first[where]), first[where]) for where in self._reachable}
            for ids in (await self._log.stamps(begins, ends, self._tag)).values():
                self._written |= ids
            if self._written:
                log.info("%s: took over %s/%d; %d outputs are already written", self._stage, topic, self._partition, len(self._written))
        self._tell(topic, start.lost, start.truncated, start.is_anew)
        source.base, source.incarnation = start.base, incarnation
        source.next_offset = start.offset + start.base
        source.settled_at = bounds.end + start.base
        source.positions = positions
        source.offer = None
        source.committed = -1
        if commit is not None and not start.is_anew and start.offset == commit.offset and seen is None:
            source.committed = commit.offset
            return None
        return GroupCommit(start.offset, encode_note(CommitNote(positions, start.base, incarnation)))

    def _tell(self, topic: str, lost: int, truncated: int, is_anew: bool) -> None:
        where = f"{topic}/{self._partition}"
        if lost:
            self._metrics.lost_to_retention(topic, self._partition, lost)
            log.error("%s: %d records of %s were deleted by retention before they were read", self._stage, lost, where)
        if truncated:
            log.error("%s: %s ends %d records before what was committed: the broker has lost them", self._stage, where, truncated)
        if is_anew:
            log.warning("%s: %s was made anew; its offsets go on after the old ones", self._stage, where)

    async def _find_reachable(self) -> tuple[tuple[str, int], ...]:
        """The output partitions that this partition's records can cause anything in."""
        found: set[tuple[str, int]] = set()
        for topic, aligned in self._outputs_of.items():
            found |= {(topic, p) for p in ([self._partition] if aligned else range(await self._outputs.partition_count(topic)))}
        return tuple(sorted(found))

    # --- steps 7 and 8

    async def compute(self, batch: Batch) -> Prepared | None:
        """None where nothing of the batch may be applied: it is applied already, or what comes before it is missing."""
        source = self._sources[batch.topic]
        expected = max(source.next_offset, self._computed_to.get(batch.topic, -1))
        if batch.begins > expected or batch.ends <= expected:
            return None
        records = batch.records
        if batch.begins < expected:
            records = [record for record in records if record.offset >= expected]
        self._computed_to[batch.topic] = batch.ends
        if batch.begins < self._refused_until.get(batch.topic, -1):
            return Prepared(batch, records, None)
        if not records:
            return Prepared(batch, records, BatchResult())
        try:
            return Prepared(batch, records, await self._handle(records))
        except RecordError:
            return Prepared(batch, records, None)

    async def _handle(self, part: Sequence[SourceRecord | UnreadableRecord]) -> BatchResult:
        """The handler's answer; whatever it raises about these records becomes a RecordError."""
        readable = [record for record in part if not isinstance(record, UnreadableRecord)]
        try:
            with self._metrics.handler_seconds.time():
                result = await self._handler(readable, self._view()) if readable else BatchResult()
        except (*FATAL, TransientError, RecordError):
            raise
        except Exception as error:
            if is_infrastructure(error):
                raise TransientError(f"the stage can't work ({type(error).__name__})") from error
            raise RecordError(Reason.POISON, f"{type(error).__name__} in stage {self._stage}") from error
        if len(readable) < len(part):
            for record in part:
                if isinstance(record, UnreadableRecord):
                    self._add_unreadable(result, record)
        return result

    def _add_unreadable(self, result: BatchResult, record: UnreadableRecord) -> None:
        count = record.last_offset - record.offset + 1
        log.warning(
            "%s: %s/%d/%d%s can't be read: %s", self._stage, record.topic, record.partition, record.offset,
            f" to {record.last_offset}" if count > 1 else "", record.problem,
        )  # fmt: skip
        many = f"{count} records up to offset {record.last_offset}: " if count > 1 else ""
        result.outputs.append(self._dead_letters.build(record, RecordError(Reason.UNREADABLE, many + record.problem)))
        result.rejected += count
        result.reasons[Reason.UNREADABLE.value] = result.reasons.get(Reason.UNREADABLE.value, 0) + count

    def _view(self) -> OverlayView:
        return OverlayView(self._settling, self._table, self._partition)

    # --- steps 9 to 11

    async def settle(self, prepared: Prepared) -> None:
        """Returns when all effects of the batch are acknowledged. Raises TransientError (NotOwner among them), FatalError."""
        batch = prepared.batch
        source = self._sources[batch.topic]
        if prepared.result is None:
            await self._settle_in_parts(batch.topic, prepared.records)
        elif prepared.records:
            try:
                await self._write(batch.topic, prepared.result)
                self._count(prepared.result, prepared.records)
            except RecordError as error:
                # What was computed since stands on a state that will not come to be.
                self._refused_until[batch.topic] = batch.ends
                raise TransientError(f"a batch is handled again in halves: {error.detail}") from error
        source.next_offset = max(source.next_offset, batch.ends)
        self._forget_caused()
        self._offer(source)

    def begin_settling(self, prepared: Prepared) -> None:
        """From now on batches are computed on top of this one's state."""
        self._settling = prepared.result.state if prepared.result is not None else {}

    async def _settle_in_parts(self, topic: str, records: Sequence[SourceRecord | UnreadableRecord]) -> None:
        """A stack instead of recursion: the first half is settled before the second is handled, since it changes the state."""
        self._settling = {}
        stack: list[Sequence[SourceRecord | UnreadableRecord]] = [records]
        alone = 0
        while stack:
            part = stack.pop()
            try:
                result = await self._handle(part)
                await self._write(topic, result)
            except RecordError as error:
                self._metrics.handler_errors.inc()
                if len(part) > 1:
                    middle = len(part) // 2
                    stack += [part[middle:], part[:middle]]
                    continue
                alone += 1
                if error.reason is Reason.POISON and alone < _TRIES_ALONE:
                    await self._pause(0.02 * alone)
                    stack.append(part)
                    continue
                result = await self._reject(topic, part[0], error)
            alone = 0
            self._count(result, part)

    async def _reject(self, topic: str, record: SourceRecord | UnreadableRecord, error: RecordError) -> BatchResult:
        # Only the position, the reason and an exception's class are told: its text may quote the record.
        log.warning(
            "%s: dead-lettering %s/%d/%d: %s",
            self._stage,
            record.topic,
            record.partition,
            record.offset,
            error.detail or error.reason.value,
        )
        letter = self._dead_letters.build(record, error, attempt=2)
        result = BatchResult([letter], {}, 1, {error.reason.value: 1})
        try:
            await self._write(topic, result)
        except RecordError:  # even sealed it is too large: the letter goes without the original
            bare = UnreadableRecord(
                record.topic, record.partition, record.offset, record.offset, record.timestamp, None, None, (), error.detail
            )
            result.outputs = [self._dead_letters.build(bare, error, attempt=2)]
            await self._write(topic, result)
        return result

    async def _write(self, topic: str, result: BatchResult) -> None:
        fence = self._fence_of(topic)
        source = self._sources[topic]
        known = self._written | self._remembered if self._remembered else self._written
        outputs = result.outputs
        if known:
            outputs = [o for o in outputs if (o.topic, o.record_id) not in known and (o.unless is None or o.unless not in known)]
            self._metrics.suppressed.inc(len(result.outputs) - len(outputs))
        if outputs:
            done: list[OutputRecord] = []
            try:
                with self._metrics.write_seconds.time():
                    await self._outputs.write(outputs, self._tag + _stamp(source.incarnation, source.base), fence, done.append)
            except RecordError:
                # Its neighbours are written, and will be caused again by a smaller part of the batch.
                self._written |= {(o.topic, o.record_id) for o in done}
                raise
            finally:
                self._metrics.on_written(done)
        if result.state:
            await self._table.apply(self._partition, result.state, fence)
        if known:
            again = {(o.topic, o.record_id) for o in result.outputs} | {o.unless for o in result.outputs if o.unless is not None}
            self._written -= again
            self._remembered -= again

    def _count(self, result: BatchResult, records: Sequence[object]) -> None:
        self._metrics.records.inc(len(records))
        self._metrics.rejected.inc(result.rejected)
        for reason, count in result.dropped.items():
            self._metrics.on_dropped(reason, count)
        self._rejects.observe(result.rejected, len(records), result.reasons)

    def _forget_caused(self) -> None:
        if self._written and all(source.next_offset >= source.settled_at for source in self._sources.values()):
            if len(self._remembered) < REMEMBERED_MOST:
                self._remembered |= self._written
            self._written.clear()

    def _offer(self, source: _Source) -> None:
        offset = source.next_offset - source.base
        if offset < source.committed:
            return
        source.positions = self._positions(source)
        source.offer = Offer(offset, source.positions, source.base, source.incarnation)

    def _positions(self, source: _Source) -> Positions:
        if self._written:
            # Outputs of source records still to come may lie before what this worker wrote last.
            return source.positions
        known = self._outputs.positions
        return {where: max(known.get(where, 0), source.positions.get(where, 0)) for where in self._reachable}

    # --- commits

    def offers(self) -> Iterator[tuple[tuple[str, int], GroupCommit]]:
        """What may be committed now."""
        for topic, source in self._sources.items():
            if source.offer is not None:
                yield (topic, self._partition), source.offer.commit()

    def committed(self, topic: str, commit: GroupCommit) -> None:
        """The group has taken this offer."""
        source = self._sources.get(topic)
        if source is not None:
            source.committed = max(source.committed, commit.offset)
            if source.offer is not None and source.offer.commit() == commit:
                source.offer = None

    def renew_idle(self) -> None:
        """Refresh the committed output positions of a partition at rest (its offset stays as it is)."""
        if not self._is_sure or self._written:
            return
        for source in self._sources.values():
            now = self._positions(source)
            moved = max((now[where] - source.positions.get(where, 0) for where in now), default=0)
            if moved >= RENEW_AFTER_RECORDS and source.offer is None:
                self._offer(source)

    # --- the timer

    async def run_timer(self) -> None:
        """Let a handler that follows time do what is due. Nothing else of the partition may be under way. Raises as ``settle`` does."""
        if self._follows is None:
            return
        if not self._timer_from_start and all(s.next_offset <= 0 for s in self._sources.values()):
            return
        topic = next(iter(self._sources))
        self._fence(tuple(self._sources))
        self._settling = {}
        result = await self._follows.on_timer(self._partition, self._table.items(self._partition))
        try:
            await self._write(topic, result)
        except RecordError as error:
            raise FatalError(f"the broker refuses what the timer of stage {self._stage} writes ({error.detail})") from error

    # --- the fence

    def _fence_of(self, topic: str) -> Callable[[], None]:
        generation = self._generation
        return lambda: self._ownership.check((topic, self._partition), generation)

    def _fence(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self._ownership.check((topic, self._partition), self._generation)


class OverlayView:
    """The state as it will be when the batch before is settled. A StateView."""

    def __init__(self, over: Mapping[bytes, bytes | None], table: StateTable | NoState, partition: int) -> None:
        self._over = over
        self._view = table.view(partition)

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        over = self._over
        if not over:
            return self._view.get_many(keys)
        found = dict(self._view.get_many([key for key in keys if key not in over]))
        found.update((key, value) for key in keys if (value := over.get(key)) is not None)
        return found


def _stamp(incarnation: int, base: int) -> bytes:
    """What follows the tag in an output's header: which topic of the name, and the base of its offsets where it has one."""
    return incarnation.to_bytes(4, "big") + (base.to_bytes(8, "big") if base else b"")


def _base_of(stamp: bytes) -> int:
    return int.from_bytes(stamp[4:12], "big")
