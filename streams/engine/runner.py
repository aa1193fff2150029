"""Runs all partitions of a stage in one process: distributes runs, commits offsets, and handles rebalances."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set

from streams.engine.checkpoint_ports import Committer
from streams.engine.ownership import Ownership
from streams.engine.partition_worker import PartitionWorker
from streams.engine.records import FetchedRun
from streams.engine.resume import GroupCommit
from streams.engine.runtime import Runtime, Task
from streams.errors import TransientError

log = logging.getLogger(__name__)


class Runner:
    """``make_worker`` makes the worker of a partition number, once; ``sources`` are the full names of the stage's source topics."""

    def __init__(
        self,
        *,
        stage: str,
        sources: Sequence[str],
        make_worker: Callable[[int], PartitionWorker],
        ownership: Ownership,
        committer: Committer,
        runtime: Runtime,
        drain_s: float,
    ) -> None:
        self._stage = stage
        self._sources = tuple(sources)
        self._make_worker = make_worker
        self._ownership = ownership
        self._committer = committer
        self._runtime = runtime
        self._drain_s = drain_s
        self._tasks: dict[int, Task] = {}
        self.workers: dict[int, PartitionWorker] = {}
        self.commit_trouble_since: float | None = None

    def deliver(self, run: FetchedRun) -> bool:
        """Put a run into its partition's queue; never waits. False if nobody waits for it."""
        worker = self.workers.get(run.partition)
        return worker is not None and worker.deliver(run)

    def has_room(self, topic: str, partition: int) -> bool:
        worker = self.workers.get(partition)
        return worker is not None and worker.has_room(topic)

    def on_assigned(self, owned: Set[tuple[str, int]], generation: int) -> None:
        """These partitions, and no others, are this worker's from now on."""
        self._ownership.assign(owned, generation)
        by_partition: dict[int, list[str]] = {}
        for topic, partition in owned:
            by_partition.setdefault(partition, []).append(topic)
        for partition, topics in sorted(by_partition.items()):
            worker = self.workers.get(partition)
            if worker is None:
                worker = self.workers[partition] = self._make_worker(partition)
                self._tasks[partition] = self._runtime.spawn(worker.work(), f"partition {partition}")
            worker.assign(topics, generation)
        for partition, worker in self.workers.items():
            if partition not in by_partition:
                if worker.topics:
                    worker.give_up()
                worker.leave()

    async def on_revoking(self) -> None:
        """Before partitions are given away: finish and commit the work in progress, as far as the time allows."""
        for worker in self.workers.values():
            worker.drain()
        await self.idle(self._drain_s)
        await self.commit()
        self._ownership.give_up()
        for worker in self.workers.values():
            worker.give_up()

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is being done; False if it took too long."""
        done = self._runtime.event()

        async def wait() -> None:
            for worker in list(self.workers.values()):
                await worker.idle()
            done.set()

        async def give_up() -> None:
            await self._runtime.sleep(timeout_s)
            done.set()

        watchers = [self._runtime.spawn(wait(), "idle"), self._runtime.spawn(give_up(), "idle timeout")]
        await done.wait()
        is_idle = not any(worker.is_busy for worker in self.workers.values())
        for watcher in watchers:
            watcher.cancel()
        return is_idle

    async def commit(self) -> bool:
        """Commit finished work. False if the group refused it or there was nothing. Raises nothing but FatalError."""
        offers: dict[tuple[str, int], GroupCommit] = {}
        for worker in self.workers.values():
            for where, offer in worker.checkpoint.offers():
                if self._ownership.holds(where, worker.checkpoint.generation):
                    offers[where] = offer
        if not offers:
            return False
        try:
            taken = await self._committer.commit(offers)
        except TransientError as error:
            if self.commit_trouble_since is None:
                self.commit_trouble_since = self._runtime.seconds()
                log.warning("%s: committing failed, it is tried again: %s", self._stage, error)
            return False
        self.commit_trouble_since = None
        if taken:
            self._committed(offers)
        return taken

    def _committed(self, commits: Mapping[tuple[str, int], GroupCommit]) -> None:
        for (topic, partition), commit in commits.items():
            self.workers[partition].checkpoint.committed(topic, commit)

    def request_timers(self) -> None:
        """For every partition of the stage's first source."""
        for worker in self.workers.values():
            if self._sources[0] in worker.topics:
                worker.request_timer()

    def request_upkeep(self) -> None:
        """A step of the work that can wait, in every partition."""
        for worker in self.workers.values():
            if worker.topics:
                worker.request_upkeep()

    def renew_idle(self) -> None:
        for worker in self.workers.values():
            if worker.topics and not worker.is_busy:
                worker.checkpoint.renew_idle()

    def busy_not_owned(self) -> list[int]:
        """Partitions that this worker is still at though they were given away."""
        return [partition for partition, worker in self.workers.items() if worker.is_busy and not worker.topics]

    def stop(self) -> None:
        """Interrupt the work in progress. Nothing of it is committed; all of it will be processed again."""
        for task in self._tasks.values():
            task.cancel()
