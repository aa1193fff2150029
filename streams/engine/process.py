"""One stage as a running process: clients, app, runner, read models, status server, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from prometheus_client import CollectorRegistry

from streams import topics
from streams.admin.kafka_client import no_broker
from streams.app import StageSpec, add_agent, add_timer, app_id, build_app, declare_table
from streams.engine.faust.transport import BatchApp, BatchConsumer
from streams.engine.followers import Follower
from streams.engine.lanes import Lanes
from streams.engine.ledger import CommitLedger
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import OutputWriter
from streams.engine.records import BatchHandler
from streams.engine.rejects import RejectGuard
from streams.engine.runner import BatchRunner, DeadLetters
from streams.engine.state import MemoryStore, NoState, RocksStore, StateTable
from streams.engine.status_server import StatusServer
from streams.engine.tail import TailReader
from streams.engine.watchdog import Watchdog
from streams.errors import ConfigurationError
from streams.settings import KafkaSettings, Settings

log = logging.getLogger(__name__)

_STOP_S = 20.0
"""How long an orderly stop waits for batches that are being applied."""


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


class StageProcess:
    """Runs one stage until it is told to stop or something fatal happens."""

    def __init__(self, parts: StageParts, settings: Settings, kafka: KafkaSettings, client_config: Mapping[str, Any]) -> None:
        self._parts = parts
        self._settings = settings
        self._kafka = kafka
        self._config = dict(client_config)
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._app: BatchApp | None = None
        self._lanes: Lanes | None = None
        self._followed = False

    async def run(self, stop: asyncio.Event, loaded: Callable[[], None] = lambda: None) -> None:
        """Returns after an orderly stop; raises what made the stage fail. ``loaded`` is called when models and read models are
        there and the first batch is not."""
        parts, settings = self._parts, self._settings
        ledger = CommitLedger()
        writer = OutputWriter(self._config, topic_prefix=settings.topic_prefix, idempotent=settings.idempotent_producer)
        tail = TailReader(self._config, group_id=app_id(parts.spec.name, settings), topic_prefix=settings.topic_prefix)
        status = StatusServer(
            parts.registry, host=settings.metrics_host, port=settings.metrics_port, alive=self._why_not_alive, ready=self._why_not_ready
        )
        try:
            self._make_state_folder()
            await self._connect(writer, tail)
            counts = await self._check_topics(tail)
            partitions = counts[parts.spec.sources[0]]
            await self._start_status(status)
            for follower in parts.followers:
                await follower.start(counts[follower.topic.removeprefix(settings.topic_prefix)])
            loaded()
            app = self._app = build_app(parts.spec, settings, self._kafka, ledger, partitions)
            runner = self._runner(app, ledger, writer, tail)
            lanes = self._lanes = Lanes(runner.run, self._fail)
            add_agent(app, parts.spec, settings, lanes)
            self._finish_before_revocation(app, lanes)
            self._add_timers(app, runner)
            await app.start()
            log.info("%s: started", parts.spec.name)
            await self._wait(stop, app)
            log.info("%s: stopping", parts.spec.name)
        finally:
            await self._shut_down(writer, tail, status)
        if self._failure is not None:
            raise self._failure

    def _runner(self, app: BatchApp, ledger: CommitLedger, writer: OutputWriter, tail: TailReader) -> BatchRunner:
        spec, settings = self._parts.spec, self._settings
        table = declare_table(app, spec)
        state: StateTable | NoState = NoState()
        if table is not None:
            store = RocksStore(table.data) if settings.state_store == "rocksdb" else MemoryStore(table.data)
            state = StateTable(store, table.changelog_topic.get_topic_name(), writer)

        async def commit_now() -> None:
            await app.consumer.commit()

        runner = BatchRunner(
            stage=spec.name,
            handler=self._parts.handler,
            outputs={name: spec.aligned and topics.BY_NAME[name].co_partitioned for name in spec.outputs},
            table=state,
            writer=writer,
            tail=tail,
            ledger=ledger,
            dead_letters=self._parts.dead_letters,
            rejects=RejectGuard(settings.reject_share_max, settings.reject_window),
            metrics=self._parts.metrics,
            commit_now=commit_now,
            sources=[settings.topic_prefix + name for name in spec.sources],
            before_partition=self._catch_up,
        )

        async def on_assigned(_: Any, assigned: set[Any], *args: Any, **options: Any) -> None:
            owned = {(tp.topic, tp.partition) for tp in assigned if tp.topic not in app.tables.changelog_topics}
            runner.keep_only(owned, app.consumer_generation_id)

        app.on_partitions_assigned.connect(cast(Any, on_assigned))
        return runner

    def _finish_before_revocation(self, app: BatchApp, lanes: Lanes) -> None:
        """Partitions are given away when everything that was taken of them is applied, and committed."""

        async def on_revoked(*args: Any, **options: Any) -> None:
            await lanes.idle(self._settings.session_timeout_s / 2)
            await app.consumer.commit()

        app.on_partitions_revoked.connect(cast(Any, on_revoked))

    def _add_timers(self, app: BatchApp, runner: BatchRunner) -> None:
        spec = self._parts.spec
        if spec.timer_s is not None:

            async def close_due() -> None:
                if self._is_moving(app):
                    return  # the table is not whole yet
                try:
                    await runner.close_due()
                except Exception as error:  # noqa: BLE001 - whatever it is, the process ends with it
                    self._fail(error)

            add_timer(app, spec.timer_s, close_due, f"{spec.name}.close_due")

        watchdog = Watchdog()

        async def observe() -> None:
            runner.renew_idle()
            consumer = cast(BatchConsumer, app.consumer)
            at_rest = not (runner.is_busy or self._is_moving(app))
            for tp in consumer.assignment():
                end = consumer.highwater(tp)
                if tp.topic in app.tables.changelog_topics or end is None:
                    continue
                committed = consumer.committed_offset(tp)
                applied = runner.applied(tp)
                self._parts.metrics.lag(tp.topic, tp.partition, max(0, end - (committed if applied is None else applied)))
                if watchdog.stands_still(tp, at_rest=at_rest, progress=(applied, committed), end=end):
                    log.warning("%s: %s/%d stands still at %s; fetching it again", spec.name, tp.topic, tp.partition, committed)
                    await consumer.revive(tp)

        add_timer(app, 5.0, observe, f"{spec.name}.observe")

    async def _catch_up(self, partition: int) -> None:
        """A partition's first batch waits for the read models; the popularity that its last owner wrote lies in the partition
        of the same number."""
        for follower in self._parts.followers:
            await follower.caught_up(None if not self._followed else partition)
        self._followed = True

    def _make_state_folder(self) -> None:
        folder = Path(self._settings.state_dir) / self._parts.spec.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"the state folder {folder} can't be made ({error.strerror}); set VEILSTREAM_STATE_DIR") from None

    async def _connect(self, writer: OutputWriter, tail: TailReader) -> None:
        try:
            await writer.start()
            await tail.start()
        except (KafkaError, OSError) as error:
            raise no_broker(self._kafka, error) from error

    async def _check_topics(self, tail: TailReader) -> dict[str, int]:
        spec = self._parts.spec
        prefix = self._settings.topic_prefix
        names = dict.fromkeys((*spec.sources, *spec.outputs, *spec.follows))
        found = await tail.partition_counts([prefix + name for name in names])
        missing = [prefix + name for name in names if prefix + name not in found]
        if missing:
            raise ConfigurationError(f"topics missing (or not yours to see): {', '.join(missing)}; run `veilstream topics create`")
        counts = {name: found[prefix + name] for name in names}
        aligned = {name: count for name, count in counts.items() if topics.BY_NAME[name].co_partitioned}
        if spec.aligned and len(set(aligned.values())) > 1:
            raise ConfigurationError(f"these topics need the same number of partitions: {aligned}; see `veilstream topics check`")
        return counts

    async def _start_status(self, status: StatusServer) -> None:
        try:
            await status.start()
        except OSError as error:
            raise ConfigurationError(
                f"port {self._settings.metrics_port} can't be used ({error.strerror}); set VEILSTREAM_METRICS_PORT, 0 takes a free one"
            ) from error
        log.info("%s: metrics on port %d", self._parts.spec.name, status.port)

    async def _wait(self, stop: asyncio.Event, app: BatchApp) -> None:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._failed.wait())]
        try:
            while not any(wait.done() for wait in waits):
                await asyncio.wait(waits, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                if app.crashed and self._failure is None:
                    self._fail(app.crash_reason or RuntimeError("the Faust app crashed"))
        finally:
            for wait in waits:
                wait.cancel()

    async def _shut_down(self, writer: OutputWriter, tail: TailReader, status: StatusServer) -> None:
        self._parts.metrics.ready.set(0)
        stops: list[Callable[[], Awaitable[None]]] = [
            *(f.stop for f in self._parts.followers),
            tail.stop,
            writer.stop,
            status.stop,
            *self._parts.closers,
        ]
        if self._app is not None and self._app.started:
            stops.insert(0, self._app.stop)
        if self._lanes is not None:
            if self._failure is None and not await self._lanes.finish(_STOP_S):
                log.warning("%s: what is still being applied is interrupted, and will come again", self._parts.spec.name)
            stops.insert(0, self._lanes.stop)
        for stop in stops:
            try:
                await stop()
            except Exception as error:  # noqa: BLE001 - the others must stop too; the first failure is what the process ends with
                log.error("%s: stopping failed: %s", self._parts.spec.name, type(error).__name__)
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._failed.set()

    def _why_not_alive(self) -> str | None:
        return None if self._failure is None else f"failed: {type(self._failure).__name__}"

    def _why_not_ready(self) -> str | None:
        app = self._app
        if self._failure is not None:
            return self._why_not_alive()
        if app is None or not app.started:
            return "starting"
        if self._is_moving(app):
            return "recovering"
        self._parts.metrics.ready.set(1)
        return None

    @staticmethod
    def _is_moving(app: BatchApp) -> bool:
        """Partitions are being assigned, or their tables recovered."""
        return bool(app.rebalancing or app.in_recovery or not cast(TableManager, app.tables).recovery.completed.is_set())
