"""A stage as a member of its consumer group: the Faust app with its one agent and its table."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Set
from pathlib import Path
from typing import Any, cast

import faust
from faust.auth import OAuthCredentials
from faust.tables.manager import TableManager
from faust.types import AppT, EventT, StreamT
from faust.types.tuples import Message

from streams.engine.faust.recovery import BulkRecovery, ReadLog
from streams.engine.faust.stores import declare
from streams.engine.faust.transport import COMMIT_ERRORS, EngineApp, EngineConsumer
from streams.engine.handler import StageSpec
from streams.engine.ownership import Ownership
from streams.engine.records import FetchedRun
from streams.engine.resume import GroupCommit
from streams.engine.state import MemoryStore, RocksStore
from streams.errors import TransientError
from streams.settings import KafkaSettings, Settings

Deliver = Callable[[FetchedRun], object]


class FaustMember:
    """Created once per process.

    ``deliver`` gets what the agent got. ``on_revoking`` is awaited before partitions are given away. ``on_assigned`` is called with
    the worker's source partitions and the generation, when their tables are ready.
    """

    def __init__(
        self,
        spec: StageSpec,
        *,
        settings: Settings,
        kafka: KafkaSettings,
        partitions: int,
        ownership: Ownership,
        deliver: Deliver,
        on_assigned: Callable[[Set[tuple[str, int]], int], None],
        on_revoking: Callable[[], Awaitable[None]],
        read_log: ReadLog,
        incarnation: Callable[[str], Awaitable[int]],
    ) -> None:
        self._ownership = ownership
        self._on_assigned = on_assigned
        self.app = _build(spec, settings, kafka, partitions, self)
        self._in_memory = settings.state_store == "memory"
        self._table = declare(self.app, spec.table) if spec.table is not None else None
        if self._table is not None:
            recovery = BulkRecovery(self.app, self.app.tables)
            recovery.use(read_log, incarnation, self.store)
            cast(TableManager, self.app.tables)._recovery = recovery
        source = self.app.topic(*(settings.topic_prefix + name for name in spec.sources), schema=RunSchema(), internal=False)
        self.app.agent(source, name=f"streams.{spec.name}")(functools.partial(hand_over, deliver))

        async def revoked(*args: Any, **options: Any) -> None:
            await on_revoking()

        self._revoked = revoked  # Faust keeps a weak reference only
        self.app.on_partitions_revoked.connect(cast(Any, revoked))

    # --- hooks of the transport

    def renewed(self, sent_at: float) -> None:
        self._ownership.renew(sent_at)

    def on_ready(self) -> None:
        app = self.app
        owned = {(tp.topic, tp.partition) for tp in app.consumer.assignment() if tp.topic not in app.tables.changelog_topics}
        self._on_assigned(owned, app.consumer_generation_id)

    # --- the engine's side

    async def start(self) -> None:
        await self.app.start()

    async def stop(self) -> None:
        if self.app.started:
            await self.app.stop()

    @property
    def failure(self) -> BaseException | None:
        """Why Faust gave up, if it did."""
        if not self.app.crashed:
            return None
        return self.app.crash_reason or RuntimeError("the Faust app crashed")

    @property
    def is_started(self) -> bool:
        return bool(self.app.started)

    @property
    def is_moving(self) -> bool:
        """Partitions are being assigned, or their tables recovered."""
        app = self.app
        return bool(app.rebalancing or app.in_recovery or not cast(TableManager, app.tables).recovery.completed.is_set())

    @property
    def recovery_left(self) -> int:
        """Records of the changelog that are still to be read before the stage processes."""
        recovery = cast(TableManager, self.app.tables).recovery
        if recovery.completed.is_set():
            return 0
        ends, read = recovery.active_highwaters, recovery.active_offsets
        return sum(max(0, end - read[tp]) for tp, end in ends.items() if end is not None and tp in read)

    @property
    def changelog(self) -> str | None:
        """Full name of the table's changelog topic."""
        return None if self._table is None else str(self._table.changelog_topic.get_topic_name())

    def store(self) -> RocksStore | MemoryStore:
        """The local half of the table."""
        table: Any = self._table
        return cast(MemoryStore, table.data.partitions) if self._in_memory else RocksStore(table.data)

    def put(self, run: FetchedRun) -> None:
        """Give a fetched run to the agent."""
        cast(EngineConsumer, self.app.consumer).put(run)

    async def commit(self, commits: Mapping[tuple[str, int], GroupCommit]) -> bool:
        """A Committer's. False if the group has moved on."""
        try:
            return await cast(EngineConsumer, self.app.consumer).commit_with_notes(commits)
        except COMMIT_ERRORS as error:
            raise TransientError(f"the commit was not answered ({type(error).__name__})") from error


async def hand_over(deliver: Deliver, stream: StreamT[FetchedRun]) -> None:
    """The agent. What Faust takes for acknowledged here is only in line: commits are the checkpoint's."""
    async for run in stream:
        deliver(run)


def _build(spec: StageSpec, settings: Settings, kafka: KafkaSettings, partitions: int, hooks: FaustMember) -> EngineApp:
    servers = ";".join(server.strip() for server in kafka.bootstrap_servers.split(","))
    instance = {} if settings.instance_id is None else {"consumer_group_instance_id": f"{settings.instance_id}-{spec.name}"}
    return EngineApp(
        f"{settings.app_prefix}-{spec.name}",
        hooks=hooks,
        fetch_wait_ms=settings.fetch_wait_ms,
        broker=f"veilstream://{servers}",
        broker_credentials=_credentials(kafka),
        broker_session_timeout=settings.session_timeout_s,
        # A member hears of a rebalance by its next heartbeat: the others wait as long, with all they have.
        broker_heartbeat_interval=min(settings.session_timeout_s / 6, 0.5),
        broker_request_timeout=max(90.0, settings.session_timeout_s * 2),
        broker_rebalance_timeout=max(60.0, settings.session_timeout_s),
        broker_commit_interval=60.0,
        broker_commit_every=1_000_000_000,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1_048_576,
        store="memory://" if settings.state_store == "memory" else "rocksdb://",
        datadir=str(Path(settings.state_dir) / spec.name),
        topic_partitions=partitions,
        topic_replication_factor=settings.replication,
        topic_disable_leader=True,
        stream_buffer_maxsize=4096,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        web_enabled=False,
        autodiscover=False,
        **instance,
    )


def _credentials(kafka: KafkaSettings) -> Any:
    if kafka.security_protocol == "PLAINTEXT":
        return None
    from streams.kafka.security import sasl_password, ssl_context
    from streams.kafka.tokens import token_provider

    context = ssl_context(kafka) if "SSL" in kafka.security_protocol else None
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context=context)
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=token_provider(kafka), ssl_context=context)
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=sasl_password(kafka),
        ssl_context=context,
        mechanism=kafka.sasl_mechanism,
    )


class RunSchema(faust.Schema[Any, Any]):
    """Decodes nothing: records are decoded by the stage, all of a batch at once."""

    def compile(self, app: AppT, **kwargs: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:
            return create_event(None, message.value, {}, message)

        return decode
