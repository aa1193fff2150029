"""The one place that knows, for one partition number, what is delivered, written, applied and committed, by whom and until when.

The protocol, step by step. Everything else in the engine only carries these steps out: 3 and 4 are in ``beginning``, what is *written* in
``written_outputs``, the handler's guard of 8 in ``guarded_handler`` and its halves in ``halving``, what may be committed in
``source_progress``.

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

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.engine.beginning import RENEW_AFTER_RECORDS, Beginnings
from streams.engine.checkpoint_ports import Committer, Log
from streams.engine.duties import Duties
from streams.engine.guarded_handler import GuardedHandler
from streams.engine.halving import Halving, Records
from streams.engine.handler import BatchHandler, ExpiresState
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import Outputs
from streams.engine.ownership import Ownership
from streams.engine.ports import DeadLetters
from streams.engine.positions import Positions
from streams.engine.queues import Batch
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, UnreadableRecord
from streams.engine.rejects import RejectGuard
from streams.engine.resume import GroupCommit
from streams.engine.source_progress import SourceProgress
from streams.engine.stamps import source_tag, stamp_of
from streams.engine.state import OverlayView, Size, Table
from streams.engine.upkeep import Upkeep
from streams.engine.written_outputs import WrittenOutputs
from streams.errors import FatalError, RecordError, TransientError


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
        table: Table,
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
        self._handle = GuardedHandler(handler, stage=stage, dead_letters=dead_letters, metrics=metrics)
        self._duties = Duties(handler, table, partition, outputs, topics)
        self._outputs_of = dict(outputs_of)
        self._ownership = ownership
        self._outputs = outputs
        self._table = table
        self._log = topics
        self._committer = committer
        self._halving = Halving(stage, dead_letters, metrics, pause)
        self._rejects = rejects
        self._metrics = metrics
        self._catch_up = catch_up
        self._upkeep = Upkeep(table, partition, handler if isinstance(handler, ExpiresState) else None, metrics, now_s)
        self._tag = source_tag(stage, partition)
        self._beginnings = Beginnings(
            topics, stage=stage, partition=partition, tag=self._tag, metrics=metrics, now_s=now_s, lookup_most=lookup_most
        )
        self._sources: dict[str, SourceProgress] = {}
        self._reachable: tuple[tuple[str, int], ...] = ()
        self._generation = -1
        self._is_sure = False
        self._written = WrittenOutputs()
        self._settling: Mapping[bytes, bytes | None] = {}
        """State of the batch that is being settled: the next one is computed on top of it."""
        self._computed_to: dict[str, int] = {}
        """What is computed, though perhaps not yet settled, ends there."""
        self._refused_until: dict[str, int] = {}
        """Up to there a batch is handled in halves: the broker refused something of it as a whole."""

    # --- what it knows

    @property
    def state_size(self) -> Size:
        """Of the partition, as its store estimates; nothing before it is taken over."""
        return self._table.size(self._partition) if self._is_sure else Size(0, 0)

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
        return None if source is None or source.next_offset < 0 else source.offset

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
            if not begin <= source.offset <= end:
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
        self._reachable = await self._outputs.reachable(self._outputs_of, self._partition)
        if self._catch_up is not None:
            await self._catch_up(self._partition)
        await self._table.take_over(self._partition, generation)
        self._sources = {topic: self._sources.get(topic, SourceProgress()) for topic in topics}
        self._written.look_again()
        first: dict[tuple[str, int], GroupCommit] = {}
        for topic in topics:
            beginning = await self._beginnings.find(topic, self._reachable, [other for other in topics if other != topic])
            self._sources[topic] = beginning.progress
            self._written.add(beginning.written)
            if beginning.first_commit is not None:
                first[(topic, self._partition)] = beginning.first_commit
        if first:
            self._fence(topics)
            await self._commit(first)
        await self._duties.get_ready()
        self._fence(topics)
        self._is_sure = True

    async def _commit(self, commits: Mapping[tuple[str, int], GroupCommit]) -> None:
        if commits and not await self._committer.commit(commits):
            raise TransientError(f"the group would not take a commit of partition {self._partition}")
        for (topic, _), commit in commits.items():
            self.committed(topic, commit)

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
            return Prepared(batch, records, await self.handle(records))
        except RecordError:
            return Prepared(batch, records, None)

    async def handle(self, records: Records) -> BatchResult:
        """By the stage's handler, on top of the state of the batch that is being settled. Raises RecordError for one that it refuses."""
        return await self._handle(records, OverlayView(self._settling, self._table, self._partition))

    # --- steps 9 to 11

    async def settle(self, prepared: Prepared) -> None:
        """Returns when all effects of the batch are acknowledged. Raises TransientError (NotOwner among them), FatalError."""
        batch = prepared.batch
        source = self._sources[batch.topic]
        if prepared.result is None:
            self._settling = {}
            await self._halving.settle(prepared.records, batch.topic, self)
        elif prepared.records:
            try:
                await self.write(batch.topic, prepared.result)
                self.count(prepared.result, prepared.records)
            except RecordError as error:
                # What was computed since stands on a state that will not come to be.
                self._refused_until[batch.topic] = batch.ends
                raise TransientError(f"a batch is handled again in halves: {error.detail}") from error
        self._metrics.on_settled(batch.topic, prepared.records, batch.came_s)
        source.next_offset = max(source.next_offset, batch.ends)
        if self._written.awaits_any and all(source.next_offset >= source.settled_at for source in self._sources.values()):
            self._written.await_no_more()
        source.offer_with(self._positions(source))

    def begin_settling(self, prepared: Prepared) -> None:
        """From now on batches are computed on top of this one's state."""
        self._settling = prepared.result.state if prepared.result is not None else {}

    async def write(self, topic: str, result: BatchResult) -> None:
        """Steps 9 and 10. Raises RecordError where the broker refuses one of the outputs."""
        fence = self._fence_of(topic)
        source = self._sources[topic]
        outputs = self._written.missing(result.outputs)
        self._metrics.suppressed.inc(len(result.outputs) - len(outputs))
        if outputs:
            done: list[OutputRecord] = []
            try:
                with self._metrics.write_seconds.time():
                    await self._outputs.write(outputs, self._tag + stamp_of(source.incarnation, source.base), fence, done.append)
            except RecordError:
                # Its neighbours are written, and will be caused again by a smaller part of the batch.
                self._written.add((o.topic, o.record_id) for o in done)
                raise
            finally:
                self._metrics.on_written(done)
        if result.state:
            await self._table.apply(self._partition, result.state, fence, result.erased)
            self._metrics.expired.inc(result.expired)
        self._written.on_caused(result.outputs)

    def count(self, result: BatchResult, records: Records) -> None:
        """The records are settled."""
        self._metrics.records.inc(len(records))
        self._metrics.rejected.inc(result.rejected)
        for reason, count in result.dropped.items():
            self._metrics.on_dropped(reason, count)
        if result.shown is not None:
            self._metrics.on_shown(result.shown)
        self._rejects.observe(result.rejected - result.excused, len(records), result.reasons)

    def _positions(self, source: SourceProgress) -> Positions:
        if self._written.awaits_any:
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
            source.on_committed(commit)

    def renew_idle(self) -> None:
        """Refresh the committed output positions of a partition at rest (its offset stays as it is)."""
        if not self._is_sure or self._written.awaits_any:
            return
        for source in self._sources.values():
            now = self._positions(source)
            moved = max((now[where] - source.positions.get(where, 0) for where in now), default=0)
            if moved >= RENEW_AFTER_RECORDS and source.offer is None:
                source.offer_with(now)

    # --- the timer

    async def run_timer(self) -> None:
        """Let a handler that follows time do what is due. Nothing else of the partition may be under way. Raises as ``settle`` does."""
        begun = self._duties.has_timer_from_start or any(source.next_offset > 0 for source in self._sources.values())
        if not (self._duties.has_timer and begun):
            return
        topic = next(iter(self._sources))
        self._fence(tuple(self._sources))
        self._settling = {}
        result = await self._duties.on_timer()
        try:
            await self.write(topic, result)
        except RecordError as error:
            raise FatalError(f"the broker refuses what the timer of stage {self._stage} writes ({error.detail})") from error

    # --- work that can wait

    @property
    def needs_upkeep(self) -> bool:
        return self._is_sure and self._upkeep.is_due

    async def keep_up(self) -> None:
        """A small step of it. Nothing else of the partition may be under way. Raises as ``settle`` does."""
        self._settling = {}
        try:
            await self._upkeep.step(self._fence_of(next(iter(self._sources))))
        except RecordError as error:
            raise FatalError(f"the broker refuses a change of the state of {self._stage} ({error.detail})") from error

    def leave(self) -> None:
        """Another worker has the partition, and nothing of it is under way here."""
        self._is_sure = False
        self._settling = {}
        self._table.drop(self._partition)

    # --- the fence

    @property
    def is_owner(self) -> bool:
        """Whether the partition is still this worker's, as it was taken over. True where nothing was taken over."""
        return all(self._ownership.holds((topic, self._partition), self._generation) for topic in self._sources)

    def _fence_of(self, topic: str) -> Callable[[], None]:
        generation = self._generation
        return lambda: self._ownership.check((topic, self._partition), generation)

    def _fence(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self._ownership.check((topic, self._partition), self._generation)
