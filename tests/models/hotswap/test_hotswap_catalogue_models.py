"""A catalogue worker's models: which are kept, which one decides, and when one may go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from encoders.batching.batched_encoder import BatchedEncoder
from streams.clock import FixedClock
from streams.models.hotswap.announced import AnnouncedModels, NothingAnnounced
from streams.models.hotswap.catalogue_models import CatalogueModels
from streams.models.hotswap.loading import ModelLoader
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.registry.channels import Channels
from streams.topics import MODELS
from tests.support.profile_harness import CODECS
from tests.support.swap_harness import KEY, A, B, C, SwapHarness
from tests.support.waiting import until


class Worker:
    """An hour of grace."""

    def __init__(self, harness: SwapHarness, *, has_key: bool = True) -> None:
        self.harness = harness
        self.clock = FixedClock(0)
        metrics = ModelMetrics(CollectorRegistry())
        channels = Channels(CODECS.for_topic(MODELS), KEY.verify_key)
        self.models = CatalogueModels(
            topic=MODELS,
            announced=AnnouncedModels(channels, harness.announcements.follow, metrics, harness.known()) if has_key else NothingAnnounced(),
            loader=ModelLoader(harness.load, "base", harness.folder / "cache", KEY.verify_key if has_key else None, metrics),
            open_encoder=BatchedEncoder,
            metrics=metrics,
            clock=self.clock,
            grace_s=3600,
        )

    def active(self) -> tuple[list[str], set[str]]:
        with self.models.use() as active:
            return [encoder.version for encoder in active.encoders], set(active.retired)

    async def until(self, versions: list[str], retired: set[str]) -> None:
        await until(lambda: self.active() == (versions, retired), lambda: f"still {self.active()}")


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    worker = Worker(SwapHarness(tmp_path))
    yield worker
    await worker.models.stop()
    await worker.models.close()
    assert all(model.closed for model in worker.harness.loaded)


async def test_without_announcements_the_base_alone_is_kept(worker: Worker) -> None:
    await worker.models.start(1)
    assert worker.active() == ([A], set())


async def test_without_a_key_announcements_are_ignored(worker: Worker) -> None:
    worker.harness.promote(worker.harness.publish(B))
    keyless = Worker(worker.harness, has_key=False)
    await keyless.models.start(1)
    assert keyless.active() == ([A], set())
    await keyless.models.stop()
    await keyless.models.close()


async def test_a_new_model_is_kept_beside_the_one_before_it(worker: Worker) -> None:
    await worker.models.start(1)
    worker.harness.promote(worker.harness.publish(B), 0.1)
    await worker.until([A, B], set())
    worker.harness.promote(worker.harness.store.read_manifest(B))
    await worker.until([B, A], set())


async def test_what_is_neither_served_nor_gone_back_to_goes_after_the_grace(worker: Worker) -> None:
    harness = worker.harness
    await worker.models.start(1)
    harness.promote(harness.publish(B))
    await worker.until([B, A], set())
    harness.promote(harness.publish(C, parent=B))
    await worker.until([C, A, B], set())
    worker.clock.set(3_600_001)
    with worker.models.use():
        harness.promote(harness.store.read_manifest(C))  # looks again
        await worker.until([C, B], {A})
        assert not harness.loaded[0].closed
    await until(lambda: harness.loaded[0].closed, "it was not closed when nobody used it any more")
    harness.promote(harness.publish(A))
    await worker.until([A, B, C], set())


async def test_a_worker_that_was_away_keeps_the_announced_model_and_its_parent(worker: Worker) -> None:
    harness = worker.harness
    harness.publish(B)
    harness.promote(harness.publish(C, parent=B))
    await worker.models.start(1)
    assert worker.active() == ([C, B], set())


async def test_a_refused_model_leaves_what_was(worker: Worker) -> None:
    harness = worker.harness
    manifest = harness.publish(B)
    (harness.folder / "store" / B / "vocab.txt").write_text("damaged")
    harness.promote(manifest)
    await worker.models.start(1)
    assert worker.active() == ([A], set())
    harness.promote(harness.publish(C))
    await worker.until([C, A], set())
