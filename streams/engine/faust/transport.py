"""The Faust transport ``veilstream://``, registered under the entry point ``faust.transports``.

Division of work: Faust keeps the group, its rebalances and the recovery of tables. The engine fetches and commits.

The engine's own fetcher reads the source records in whole runs. This module passes them on to Faust's agent. Faust's consumer fetches
changelogs only, and commits nothing by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Protocol, cast

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust import App
from faust.transport.drivers import aiokafka as base
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.threads import WorkerThread

from streams.engine.ownership import seconds_awake_or_not
from streams.engine.records import FetchedRun
from streams.engine.resume import GroupCommit

_COMMIT_S = 10.0
"""How long a commit may take before it counts as failed; aiokafka would try for ever."""
_REBALANCE_IN_PROGRESS = 27


class Hooks(Protocol):
    """What the engine wants to hear of the group."""

    def renewed(self, sent_at: float) -> None:
        """The coordinator answered a heartbeat or a join sent at this time. Called from the consumer's thread."""
        ...

    def on_ready(self) -> None:
        """Partitions are assigned, and their tables recovered."""
        ...


class EngineApp(App):
    """A Faust app that tells the engine of the group."""

    def __init__(self, *args: Any, hooks: Hooks, fetch_wait_ms: int, **kwargs: Any) -> None:
        self.hooks = hooks
        self.fetch_wait_ms = fetch_wait_ms
        super().__init__(*args, **kwargs)

    def on_rebalance_end(self) -> None:
        super().on_rebalance_end()
        self.hooks.on_ready()


class RunMessage(ConsumerMessage):
    """One fetched run as Faust sees it. Its repr, which Faust logs, holds the position only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<run {self.topic}/{self.partition} up to {self.offset}>"


class _Thread(WorkerThread):
    """Never keeps a process alive that has failed: an orderly stop joins it, nothing else may wait for it."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True


class _ChangelogsOnly:
    """An aiokafka assignment as its fetcher shall see it."""

    def __init__(self, assignment: Any, is_changelog: Callable[[str], bool]) -> None:
        self._assignment = assignment
        self.tps = [tp for tp in assignment.tps if is_changelog(tp.topic)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._assignment, name)


class EngineConsumerThread(base.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread, so that heartbeats go out while the stage computes."""

    Worker = _Thread

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = cast(EngineApp, self.app).fetch_wait_ms
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        app = cast(EngineApp, self.app)
        consumer = self._ensure_consumer()
        fetcher, coordinator = consumer._fetcher, consumer._coordinator
        # Faust's changelogs are the only thing that aiokafka fetches here. It must not take a stage for idle because of that.
        actions = fetcher._get_actions_per_node
        fetcher._get_actions_per_node = lambda assignment: actions(_ChangelogsOnly(assignment, self._is_changelog))
        coordinator._max_poll_interval = float("inf")
        send = coordinator._send_req

        async def send_and_tell(request: Any) -> Any:
            sent_at = seconds_awake_or_not()
            response = await send(request)
            # The coordinator counts the session from when it gets a heartbeat: not before this one was sent. In a rebalance it answers
            # that there is one, and counts all the same.
            if isinstance(request, (HeartbeatRequest, SyncGroupRequest)) and response.error_code in (0, _REBALANCE_IN_PROGRESS):
                app.hooks.renewed(sent_at)
            return response

        coordinator._send_req = send_and_tell

    def _is_changelog(self, topic: str) -> bool:
        return topic in self.app.tables.changelog_topics

    async def commit_with_notes(self, commits: Mapping[tuple[str, int], GroupCommit]) -> bool:
        """False if the group has moved on. Raises KafkaError or TimeoutError if it is not known."""
        return bool(await self.call_thread(self._commit_with_notes, commits))

    async def _commit_with_notes(self, commits: Mapping[tuple[str, int], GroupCommit]) -> bool:
        kafka = self._ensure_consumer()
        wanted = {base.ensure_aiokafka_TP(TP(*where)): OffsetAndMetadata(*commit) for where, commit in commits.items()}
        try:
            async with asyncio.timeout(_COMMIT_S):
                await kafka.commit(wanted)
        except (CommitFailedError, IllegalStateError):
            # Whoever owns the partitions now starts from the last commit.
            return False
        return True


class EngineConsumer(base.Consumer):
    """Yields what the engine's fetcher brought, and changelogs while tables recover."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runs: asyncio.Queue[FetchedRun] = asyncio.Queue()

    def _new_consumer_thread(self) -> EngineConsumerThread:
        return EngineConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def put(self, run: FetchedRun) -> None:
        """Pass a run to the agent. Runs that arrive while partitions move are dropped, and fetched again afterwards."""
        self._runs.put_nowait(run)

    async def commit_with_notes(self, commits: Mapping[tuple[str, int], GroupCommit]) -> bool:
        return await cast(EngineConsumerThread, self._thread).commit_with_notes(commits)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        if self.app.rebalancing or self.app.in_recovery or not self.flow_active:
            while not self._runs.empty():
                self._runs.get_nowait()
            async for tp, message in super().getmany(timeout):
                yield tp, cast(ConsumerMessage, message)
            return
        try:
            async with asyncio.timeout(0.5):
                run = await self._runs.get()
        except TimeoutError:
            return
        while True:
            tp = TP(run.topic, run.partition)
            self._read_offset[tp] = None  # Faust drops what it takes for read; whether a run is old is the queue's to tell
            yield tp, self._to_run_message(tp, run)
            if self._runs.empty():
                return
            run = self._runs.get_nowait()

    def _to_run_message(self, tp: TP, run: FetchedRun) -> RunMessage:
        return RunMessage(
            run.topic, run.partition, run.ends - 1, 0.0, 0, None, None, cast(bytes, run), None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def perform_seek(self) -> None:
        """Does nothing: the checkpoint decides where a source partition continues."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Does nothing: the checkpoint handles gaps."""

    async def _commit_tps(self, tps: Iterable[TP], start_new_transaction: bool) -> bool:
        """Faust commits nothing by itself."""
        return False


class Transport(base.Transport):
    """aiokafka's transport with the engine's consumer."""

    Consumer = EngineConsumer
    driver_version = f"veilstream over {base.Transport.driver_version}"


COMMIT_ERRORS = (KafkaError, OSError)
"""Raised by ``commit_with_notes`` if it is unknown whether the commit happened."""
