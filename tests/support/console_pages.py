"""A console for tests: real workers' metrics behind a real status server, and records as the topics have them, but no broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from streams.clock import SystemClock
from streams.console.addresses import addresses
from streams.console.console import Console
from streams.console.samples import Readings
from streams.console.scraping import Scraper
from streams.console.server import create_app
from streams.console.topics import Topics
from streams.engine.ingest_metrics import IngestMetrics
from streams.engine.learning_metrics import LearningMetrics
from streams.engine.metrics import StageMetrics, tell_build
from streams.engine.status_server import StatusServer
from streams.models.hotswap.metrics import ModelMetrics
from streams.serde.codec import local_codecs
from streams.settings import KafkaSettings, Settings
from streams.training.metrics import TrainerMetrics

NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1")
"""No broker is there."""


def worker_registry(stage: str) -> CollectorRegistry:
    """The metrics of a worker of this version, as it has them before its first record; ``trainer`` is one too."""
    registry = CollectorRegistry()
    tell_build(registry)
    if stage == "trainer":
        TrainerMetrics(registry).watch_erasures(lambda: 2.0, lambda: 90_000.0)
        return registry
    StageMetrics(registry, stage).ready.set(1)
    if stage == "ingest":
        IngestMetrics(registry).watch_consents({("training", "allowed"): lambda: 3, ("training", "refused"): lambda: 1}, lambda: 0)
    if stage == "profile":
        ModelMetrics(registry).serves({"stable": "v1"})
    if stage == "learning":
        LearningMetrics(registry, lambda: 0)
    return registry


@asynccontextmanager
async def serving(*registries: CollectorRegistry) -> AsyncIterator[list[int]]:
    """The ports of status servers, one for each worker."""
    servers = [StatusServer(registry, host="127.0.0.1", port=0, alive=lambda: None, ready=lambda: None) for registry in registries]
    for server in servers:
        await server.start()
    try:
        yield [server.port for server in servers]
    finally:
        for server in servers:
            await server.stop()


def recommendation(title_id: str = "one", *, pseudonym: str = "k1.secretpseudonym", **changes: Any) -> dict[str, Any]:
    """A decoded record of ``recommendations``."""
    reasons = [
        {"kind": "item", "item_id": title_id, "event_type": "purchase", "share": 0.5},
        {"kind": "popularity", "item_id": None, "event_type": None, "share": 0.2},
        {"kind": "price", "item_id": None, "event_type": None, "share": -0.1},
    ]
    item = {"item_id": title_id, "rank": 0, "score": 0.6, "cosine": 0.5, "prior": 0.1, "reasons": reasons, "together": 0.0, "match": 0.0}
    return {
        **{"recommendation_id": "00" * 16, "pseudonym": pseudonym, "sealed_id": b"sealed-secret", "policy": "behaviour"},
        **{"trigger_event_id": "secret-event", "trigger_type": "view", "source_offset": 1, "created_at": 1_700_000_000_000},
        **{"model_version": "v1", "threshold": 0.1, "profiled": True, "trainable": True},
        "items": [{**item, "probability": None}],
        **changes,
    }


def letter(reason: str = "bad_time", **changes: Any) -> dict[str, Any]:
    """A decoded record of ``behaviour.dead-letter``."""
    return {
        **{"dead_letter_id": "00" * 16, "reason": reason, "detail": "what is wrong", "stage": "ingest", "source_topic": "behaviour.raw"},
        **{"source_partition": 0, "source_offset": 1, "source_timestamp": 1, "schema": None, "attempt": 1, "redacted_fields": []},
        **{"sealed_original": b"sealed-secret", "rejected_at": 1_700_000_000_000},
        **changes,
    }


def control(request_id: str, state: str, at: int, **changes: Any) -> dict[str, Any]:
    """A decoded record of ``training.control``."""
    base = {"request_id": request_id, "state": state, "cause": "pairs", "reason": "8,000 new pairs", "at": at}
    return {**base, "model_version": None, "verdict": "", "pairs": 8000, **changes}


class ConsoleParts:
    """A console whose topics are fed by the test."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.settings = Settings.model_validate({"keys_dir": folder / "keys", "trainer_dir": folder / "trainer"})
        self.readings = Readings()
        self.topics = Topics(self.settings, NOBODY, local_codecs(), SystemClock())
        self.scraper = Scraper(addresses(",".join(f"127.0.0.1:{port}" for port in ports)), self.readings)

    @asynccontextmanager
    async def running(self, *, token: str | None = None, broker: bool = False) -> AsyncIterator[str]:
        """The page's address. ``broker``: the topics are followed, too, at a broker that is not there."""
        async with self.scraper:
            console = Console(self.settings, self.scraper, self.readings, self.topics, SystemClock())
            runner = web.AppRunner(create_app(console, host="127.0.0.1", token=token), access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            work = asyncio.create_task(console.run() if broker else console.look())
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                await runner.cleanup()


@contextmanager
def console_thread(folder: Path, registries: Sequence[CollectorRegistry], feed: Any) -> Iterator[str]:
    """The same on a thread of its own, for tests that drive a browser. ``feed`` gets the topics first."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[str] = []

    async def main() -> None:
        async with serving(*registries) as ports:
            parts = ConsoleParts(folder, ports)
            feed(parts.topics)
            async with parts.running() as address:
                found.append(address)
                ready.set()
                await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
