"""The worker of one partition number: its queues, its checkpoint, and the single task that does all its work in sequence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from streams.backoff import Backoff
from streams.engine.checkpoint import Checkpoint, Prepared
from streams.engine.queues import Batch, PartitionQueue
from streams.engine.records import FetchedRun
from streams.engine.runtime import Runtime, Task
from streams.errors import NotOwner, TransientError

log = logging.getLogger(__name__)

_BACKOFF_S = (0.1, 10.0)


class Fetching(Protocol):
    """Brings runs of source partitions. Offsets are the topic's own; ``base`` is added to those of the records."""

    def open(self, topic: str, partition: int, offset: int, base: int, cursor: int) -> None:
        """From now on fetch from this offset, for this cursor."""
        ...

    def close(self, topic: str, partition: int) -> None: ...
    def wake(self) -> None:
        """A queue has room again."""
        ...


class PartitionWorker:
    """The shared work of one partition number for the stage's co-partitioned sources; they take turns.

    ``work`` runs as long as the process. While a batch settles, the next one is computed. Transient failures are retried as long as
    the partition belongs to this worker. Any other error goes to ``fail``, and the work ends.
    """

    def __init__(
        self,
        partition: int,
        *,
        sources: Sequence[str],
        checkpoint: Checkpoint,
        fetching: Fetching,
        runtime: Runtime,
        max_records: int,
        max_bytes: int,
        fail: Callable[[BaseException], None],
        on_retry: Callable[[], None] = lambda: None,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self.partition = partition
        self.checkpoint = checkpoint
        self._fetching = fetching
        self._runtime = runtime
        self._fail = fail
        self._on_retry = on_retry
        self._on_fenced = on_fenced
        self._queues = {topic: PartitionQueue(max_records, max_bytes) for topic in sources}
        self._order = list(sources)
        self._max_records = self._most = max_records
        self._topics: tuple[str, ...] = ()
        self._generation = -1
        self._is_draining = False
        self._is_timer_due = False
        self._is_upkeep_due = False
        self._is_left = False
        self._is_questionable = False
        self._again: set[str] = set()
        self._settling: Task | None = None
        self._wake = runtime.event()
        self._idle = runtime.event()
        self._backoff = Backoff(*_BACKOFF_S)
        self.failing_since: float | None = None
        self.trouble = ""
        self.busy_since: float | None = None

    # --- ownership

    @property
    def topics(self) -> tuple[str, ...]:
        """The sources of this partition number that are this worker's."""
        return self._topics

    def assign(self, topics: Sequence[str], generation: int) -> None:
        self._topics = tuple(topic for topic in self._queues if topic in topics)
        self._generation = generation
        self._is_draining = False
        self._is_left = False
        self._idle.clear()
        self._wake.set()

    def drain(self) -> None:
        """Finish what is begun and begin nothing more, until the next ``assign``."""
        self._is_draining = True
        self._wake.set()

    def give_up(self) -> None:
        """The partition may belong to another worker from now on. Work in progress continues until the fence stops it."""
        self._topics = ()
        for topic, queue in self._queues.items():
            queue.close()
            self._fetching.close(topic, self.partition)
        self._wake.set()

    def leave(self) -> None:
        """Another worker has the partition: after the work in progress, what is kept in memory of it is forgotten."""
        self._is_left = True
        self._wake.set()

    @property
    def is_busy(self) -> bool:
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until nothing is being done."""
        await self._idle.wait()

    # --- work comes in

    def deliver(self, run: FetchedRun) -> bool:
        """False if nobody waits for the run."""
        if not self._queues[run.topic].add(run, self._runtime.seconds()):
            return False
        self._idle.clear()
        self._wake.set()
        return True

    def has_room(self, topic: str) -> bool:
        return self._queues[topic].has_room

    def oldest_waiting_ms(self, topic: str) -> int | None:
        """Timestamp of the oldest record that waits."""
        return self._queues[topic].oldest_ms

    def request_timer(self) -> None:
        """The handler's timer is due."""
        self._is_timer_due = True
        self._wake.set()

    def request_upkeep(self) -> None:
        """There is time for a step of the work that can wait."""
        if self.checkpoint.needs_upkeep:
            self._is_upkeep_due = True
            self._wake.set()

    def question(self) -> None:
        """A source may not be the one it was: find out before anything more is applied."""
        self._is_questionable = True
        self._wake.set()

    def fetched_to(self, topic: str) -> int:
        """What is in line, and what is applied, ends there; base included."""
        return self._queues[topic].ends

    def fetch_again(self, topic: str) -> None:
        """What was fetched got lost on the way."""
        self._again.add(topic)
        self._wake.set()

    # --- work is done

    async def work(self) -> None:
        """Never returns, but for a failure (or being cancelled)."""
        while True:
            try:
                did_something = await self._turn()
                if did_something and self.checkpoint.is_sure:
                    self.failing_since = None
                    self._backoff.reset()
                    self._most = min(2 * self._most, self._max_records)
            except TransientError as error:
                await self._recover(error)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, the process ends with it
                if self.checkpoint.is_owner:
                    self._fail(error)
                    return
                await self._recover(self._of_another(error))
                continue
            if did_something:
                continue
            if self._settling is None:
                self.busy_since = None
                self._idle.set()
            await self._wake.wait()
            self._wake.clear()

    async def _turn(self) -> bool:
        """One thing; False if there is nothing to do."""
        checkpoint = self.checkpoint
        if self._settling is not None and self._settling.done():
            await self._finish()
            return True
        if not self._topics or self._is_draining:
            if self._settling is not None:
                await self._finish()
            if self._is_left and not self._topics:
                self._is_left = False
                checkpoint.leave()
            return False
        self._idle.clear()
        if not checkpoint.is_sure or checkpoint.generation != self._generation:
            await self._finish()
            await self._begin()
            return True
        if self._is_questionable:
            await self._finish()
            self._is_questionable = False
            if not await checkpoint.is_as_left():
                checkpoint.distrust()
            return True
        if self._again:
            await self._finish()
            for topic in self._again.intersection(self._topics):
                self._open(topic)
            self._again.clear()
            return True
        if self._is_timer_due:
            await self._finish()
            self._is_timer_due = False
            await checkpoint.run_timer()
            return True
        if self._is_upkeep_due:
            await self._finish()
            self._is_upkeep_due = False
            await checkpoint.keep_up()
            return True
        batch = self._next_batch()
        if batch is None:
            return False
        if self.busy_since is None:
            self.busy_since = self._runtime.seconds()
        prepared = await checkpoint.compute(batch)
        await self._finish()
        if prepared is None:
            # The batch leaves a gap after the last applied record. Go back to the last applied offset.
            log.warning("%s/%d: fetching again from the last applied offset", batch.topic, self.partition)
            self._open(batch.topic)
        elif prepared.result is None:
            await checkpoint.settle(prepared)
        else:
            checkpoint.begin_settling(prepared)
            self._settling = self._runtime.spawn(self._settle(prepared), f"settle {self.partition}")
        return True

    async def _begin(self) -> None:
        """Take the partition over, or go on with it where nobody else can have had it."""
        checkpoint, topics, generation = self.checkpoint, self._topics, self._generation
        kept = checkpoint.is_sure and checkpoint.generation + 1 == generation and checkpoint.sources == topics
        if kept and await checkpoint.is_as_left():
            checkpoint.go_on(generation)
        else:
            await checkpoint.take_over(topics, generation)
        if topics == self._topics and generation == self._generation:
            for topic in topics:
                self._open(topic)

    def _open(self, topic: str) -> None:
        offset, base = self.checkpoint.next_offset(topic), self.checkpoint.base(topic)
        self.checkpoint.rewind(topic)
        self._fetching.open(topic, self.partition, offset - base, base, self._queues[topic].open(offset))

    def _next_batch(self) -> Batch | None:
        """Of the source whose turn it is, among those that have something."""
        for topic in list(self._order):
            if topic in self._topics and not self._queues[topic].is_empty:
                had_room = self._queues[topic].has_room
                batch = self._queues[topic].take(self._most)
                self._order.remove(topic)
                self._order.append(topic)
                if not had_room and self._queues[topic].has_room:
                    self._fetching.wake()
                return batch
        return None

    async def _settle(self, prepared: Prepared) -> None:
        try:
            await self.checkpoint.settle(prepared)
        finally:
            self._wake.set()

    async def _finish(self) -> None:
        """Wait for the batch that is being settled, if any; raises what it raised."""
        settling, self._settling = self._settling, None
        if settling is not None:
            await settling

    def _of_another(self, error: Exception) -> NotOwner:
        """The partition changed hands while a batch was under way: the state that it met may be the other worker's by then, with values
        that nothing here can open. Whatever went wrong with it says nothing."""
        return NotOwner(f"it was given to another worker while a batch was under way, which met {type(error).__name__}")

    async def _recover(self, error: TransientError) -> None:
        """Nothing is lost: records that are not applied are fetched again after the next take-over."""
        self.checkpoint.distrust()
        try:
            await self._finish()
        except TransientError:
            pass  # of the same cause, or of the same consequence: it is taken over again
        except Exception as failure:  # noqa: BLE001 - whatever it is, the process ends with it
            if self.checkpoint.is_owner:
                self._fail(failure)
            else:
                error = self._of_another(failure)
        if isinstance(error, NotOwner):
            log.warning("partition %d is not processed any more: %s", self.partition, error)
            self._on_fenced()
            if not self._topics:
                return
        self._on_retry()
        if self.failing_since is None:
            self.failing_since = self._runtime.seconds()
        self.trouble = str(error)
        wait_s = self._backoff.next_s()
        # A smaller batch needs less memory (or whatever else is short).
        self._most = max(1, self._most // 2)
        if not isinstance(error, NotOwner):
            log.warning("partition %d: %s; trying again in %.1f s", self.partition, error, wait_s)
        await self._runtime.sleep(wait_s)
