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
from tests.support.profile_world import CODECS
from tests.support.swap_world import KEY, A, B, C, SwapWorld
from tests.support.waiting import until


class Worker:
    """An hour of grace."""

    def __init__(self, world: SwapWorld, *, has_key: bool = True) -> None:
        self.world = world
        self.clock = FixedClock(0)
        metrics = ModelMetrics(CollectorRegistry())
        channels = Channels(CODECS.for_topic(MODELS), KEY.verify_key)
        self.models = CatalogueModels(
            topic=MODELS,
            announced=AnnouncedModels(channels, world.announcements.follow, metrics) if has_key else NothingAnnounced(),
            loader=ModelLoader(world.load, "base", world.folder / "cache", KEY.verify_key if has_key else None, metrics),
            open_encoder=BatchedEncoder,
            metrics=metrics,
            clock=self.clock,
            grace_s=3600,
        )

    def live(self) -> tuple[list[str], set[str]]:
        with self.models.use() as live:
            return [encoder.version for encoder in live.encoders], set(live.retired)

    async def until(self, versions: list[str], retired: set[str]) -> None:
        await until(lambda: self.live() == (versions, retired), lambda: f"still {self.live()}")


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    made = Worker(SwapWorld(tmp_path))
    yield made
    await made.models.stop()
    await made.models.close()
    assert all(model.closed for model in made.world.loaded)


async def test_without_announcements_the_base_alone_is_kept(worker: Worker) -> None:
    await worker.models.start(1)
    assert worker.live() == ([A], set())


async def test_without_a_key_announcements_are_ignored(worker: Worker) -> None:
    worker.world.promote(worker.world.publish(B))
    keyless = Worker(worker.world, has_key=False)
    await keyless.models.start(1)
    assert keyless.live() == ([A], set())
    await keyless.models.stop()
    await keyless.models.close()


async def test_a_new_model_is_kept_beside_the_one_before_it(worker: Worker) -> None:
    await worker.models.start(1)
    worker.world.promote(worker.world.publish(B), 0.1)
    await worker.until([A, B], set())
    worker.world.promote(worker.world.store.read_manifest(B))
    await worker.until([B, A], set())


async def test_what_is_neither_served_nor_gone_back_to_goes_after_the_grace(worker: Worker) -> None:
    world = worker.world
    await worker.models.start(1)
    world.promote(world.publish(B))
    await worker.until([B, A], set())
    world.promote(world.publish(C, parent=B))
    await worker.until([C, A, B], set())
    worker.clock.set(3_600_001)
    with worker.models.use():
        world.promote(world.store.read_manifest(C))  # looks again
        await worker.until([C, B], {A})
        assert not world.loaded[0].closed
    await until(lambda: world.loaded[0].closed, "it was not closed when nobody used it any more")
    world.promote(world.publish(A))
    await worker.until([A, B, C], set())


async def test_a_worker_that_was_away_keeps_the_announced_model_and_its_parent(worker: Worker) -> None:
    world = worker.world
    world.publish(B)
    world.promote(world.publish(C, parent=B))
    await worker.models.start(1)
    assert worker.live() == ([C, B], set())


async def test_a_refused_model_leaves_what_was(worker: Worker) -> None:
    world = worker.world
    manifest = world.publish(B)
    (world.folder / "store" / B / "vocab.txt").write_text("damaged")
    world.promote(manifest)
    await worker.models.start(1)
    assert worker.live() == ([A], set())
    world.promote(world.publish(C))
    await worker.until([C, A], set())
