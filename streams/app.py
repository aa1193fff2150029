"""The flow, on one page.

::

    behaviour.raw ──ingest──▶ behaviour.clean ──profile──▶ recommendations ─┐
                     │                │            │                        ▼
                     ▼                │            ▼                     feedback ──▶ feedback
             behaviour.dead-letter    │      items.popularity               ▲  └────▶ training.pairs
                                      └─────────────────────────────────────┘
    catalogue.items ──catalogue──▶ items.vectors (read whole by profile)

    training.pairs, feedback, recommendations ──learning──▶ training.tallies, training.control (read whole by learning)

Every stage is a Faust app of its own (its own consumer group and rights) with one agent: the agent gets whole fetched
batches from the batch transport and hands them to the runner, which calls the stage's handler and writes what it returns.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faust
from faust.types import StreamT

from streams import topics
from streams.engine.faust.batch import FetchedBatch
from streams.engine.faust.schema import BatchSchema
from streams.engine.faust.transport import BatchApp
from streams.engine.ledger import CommitLedger
from streams.settings import KafkaSettings, Settings


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What a stage reads, writes and keeps."""

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: str | None = None
    aligned: bool = False
    """True where co-partitioned outputs are written to the source's own partition number."""
    follows: tuple[str, ...] = ()
    """Topics read whole into memory."""
    uses_encoder: bool = False
    timer_s: float | None = None
    """How often the handler may do what is due without an event."""


INGEST = StageSpec("ingest", (topics.BEHAVIOUR_RAW,), (topics.BEHAVIOUR_CLEAN, topics.DEAD_LETTER))
CATALOGUE = StageSpec(
    "catalogue",
    (topics.CATALOGUE_ITEMS,),
    (topics.ITEMS_VECTORS, topics.DEAD_LETTER),
    table="items",
    follows=(topics.MODELS,),
    uses_encoder=True,
    timer_s=0.5,
)
PROFILE = StageSpec(
    "profile",
    (topics.BEHAVIOUR_CLEAN,),
    (topics.RECOMMENDATIONS, topics.ITEMS_POPULARITY, topics.DEAD_LETTER),
    table="profiles",
    aligned=True,
    follows=(topics.ITEMS_VECTORS, topics.ITEMS_POPULARITY, topics.MODELS),
    uses_encoder=True,
)
FEEDBACK = StageSpec(
    "feedback",
    (topics.BEHAVIOUR_CLEAN, topics.RECOMMENDATIONS),
    (topics.FEEDBACK, topics.TRAINING_PAIRS, topics.DEAD_LETTER),
    table="outstanding",
    aligned=True,
    timer_s=5.0,
)
LEARNING = StageSpec(
    "learning",
    (topics.TRAINING_PAIRS, topics.FEEDBACK, topics.RECOMMENDATIONS),
    (topics.TRAINING_TALLIES, topics.TRAINING_CONTROL, topics.DEAD_LETTER),
    table="tallies",
    aligned=True,
    follows=(topics.TRAINING_TALLIES, topics.TRAINING_CONTROL),
    timer_s=5.0,
)
STAGES: dict[str, StageSpec] = {spec.name: spec for spec in (INGEST, CATALOGUE, PROFILE, FEEDBACK, LEARNING)}


class Takes(Protocol):
    """The part of the lanes that an agent needs."""

    async def submit(self, batch: FetchedBatch) -> None: ...


def app_id(stage: str, settings: Settings) -> str:
    """Consumer group and prefix of the changelog topic."""
    return f"{settings.app_prefix}-{stage}"


def build_app(spec: StageSpec, settings: Settings, kafka: KafkaSettings, ledger: CommitLedger, partitions: int) -> BatchApp:
    """A fresh Faust app for one stage; ``partitions`` is that of its source topics, so that its changelog gets as many."""
    servers = ";".join(server.strip() for server in kafka.bootstrap_servers.split(","))
    return BatchApp(
        app_id(spec.name, settings),
        ledger=ledger,
        broker=f"veilstream://{servers}",
        broker_credentials=_credentials(kafka),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 6,
        broker_request_timeout=max(90.0, settings.session_timeout_s * 2),
        broker_rebalance_timeout=max(60.0, settings.session_timeout_s),
        broker_commit_interval=settings.commit_interval_s,
        broker_commit_every=1_000_000_000,
        broker_max_poll_records=settings.fetch_max_records,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1_048_576,
        store="rocksdb://" if settings.state_store == "rocksdb" else "memory://",
        datadir=str(Path(settings.state_dir) / spec.name),
        topic_partitions=partitions,
        topic_replication_factor=settings.replication,
        topic_disable_leader=True,
        stream_buffer_maxsize=64,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        web_enabled=False,
        autodiscover=False,
    )


def declare_table(app: BatchApp, spec: StageSpec) -> Any:
    """The stage's table, bytes to bytes; None where it keeps none."""
    if spec.table is None:
        return None
    # Bytes as types, not as a schema: only then does Faust read the changelog as it was written.
    return app.Table(spec.table, key_type=bytes, value_type=bytes)


def add_agent(app: BatchApp, spec: StageSpec, settings: Settings, lanes: Takes) -> None:
    """One agent reads all sources of the stage and hands every batch to its partition's lane."""
    source = app.topic(*(settings.topic_prefix + name for name in spec.sources), schema=BatchSchema(), internal=False)
    app.agent(source, name=f"streams.app.{spec.name}")(functools.partial(hand_over, lanes))


async def hand_over(lanes: Takes, stream: StreamT[FetchedBatch]) -> None:
    """The agent. What Faust takes for acknowledged here is only in line: commits are the ledger's."""
    async for batch in stream:
        await lanes.submit(batch)


def add_timer(app: BatchApp, interval_s: float, action: Callable[[], Awaitable[None]], name: str) -> None:
    """Call ``action`` regularly while the app runs."""

    async def tick() -> None:
        await action()

    tick.__qualname__ = tick.__name__ = name
    app.timer(interval_s, name=name)(tick)


def _credentials(kafka: KafkaSettings) -> Any:
    if kafka.security_protocol == "PLAINTEXT":
        return None
    from streams.admin.kafka_client import sasl_password, ssl_context

    context = ssl_context(kafka) if "SSL" in kafka.security_protocol else None
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context=context)
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=sasl_password(kafka),
        ssl_context=context,
        mechanism=kafka.sasl_mechanism,
    )
