"""The models under which a catalogue worker keeps all items: the announced ones, and for some time their predecessors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from streams.clock import Clock
from streams.engine.followers import Follower, WatchedTogether
from streams.engine.ports import TextEncoder
from streams.errors import TransientError
from streams.models.hotswap.active_encoders import ActiveEncoders
from streams.models.hotswap.announced import Announced
from streams.models.hotswap.lease import Lease, holding
from streams.models.hotswap.loading import ModelLoader
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.hotswap.reconciler import Reconciler
from streams.models.registry.announcement import Announcement

if TYPE_CHECKING:
    from encoders.batching.micro_batcher import EncodesTexts

log = logging.getLogger(__name__)


class ClosingEncoder(TextEncoder, Protocol):
    """``BatchedEncoder``, or any like it."""

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Kept:
    encoder: ClosingEncoder
    lease: Lease
    left_ms: int | None = None
    """Time since which no worker should need the version any more."""


class CatalogueModels(WatchedTogether):
    """An ``InUse`` of ``ActiveEncoders``, and a follower of ``models`` for the stage's process."""

    def __init__(
        self,
        *,
        topic: str,
        announced: Announced,
        loader: ModelLoader,
        open_encoder: Callable[[EncodesTexts], ClosingEncoder],
        metrics: ModelMetrics,
        clock: Clock,
        grace_s: float,
    ) -> None:
        self.topic = topic
        self._announced = announced
        self._loader = loader
        self._open = open_encoder
        self._metrics = metrics
        self._clock = clock
        self._grace_ms = round(grace_s * 1000)
        self._kept: dict[str, _Kept] = {}
        self._stable = ""
        self._previous = ""
        """The predecessor of stable. It is kept permanently, because a worker that refuses the new version continues with it."""
        self._retired: set[str] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._reconciler = Reconciler(self._step, announced.changed)

    async def start(self, partitions: int) -> None:
        """Returns when the announced model is loaded, and its predecessor, which serves if the announced one is refused. If nothing is
        announced, VEILSTREAM_MODEL is loaded. Raises ConfigurationError if no model can be loaded.
        """
        await self._announced.start()
        stable = self._announced.current("stable")
        if stable is None:
            self._stable = self._keep(await self._loader.base())
        else:
            encoder = await self._loader.at_start(stable)
            before = self._keep(await self._before(stable))
            self._stable, self._previous = (before, "") if encoder is None else (self._keep(encoder), before)
        self._tell()
        self._reconciler.start()

    async def stop(self) -> None:
        await self._reconciler.stop()
        await self._announced.stop()
        self._loader.close()

    async def caught_up(self, partition: int | None = None) -> None:
        """What was announced before the start is known since then."""

    async def close(self) -> None:
        await asyncio.gather(*(kept.encoder.close() for kept in self._kept.values()), *self._closing)

    def _followed(self) -> Sequence[Follower]:
        return self._announced.followers

    @contextmanager
    def use(self) -> Iterator[ActiveEncoders]:
        kept = sorted(self._kept.values(), key=lambda one: one.encoder.version != self._stable)
        with holding([one.lease for one in kept]):
            yield ActiveEncoders([one.encoder for one in kept], frozenset(self._retired))

    async def _step(self) -> float | None:
        stable, canary = self._announced.current("stable"), self._announced.current("canary")
        away: TransientError | None = None
        for announcement in (stable, canary):
            if announcement is None:
                continue
            version = announcement.model_version
            try:
                encoder = None if version in self._kept else await self._loader.announced(announcement)
            except TransientError as error:
                away = error
                continue
            if encoder is not None:
                self._keep(encoder)
            if announcement is stable and version in self._kept and version != self._stable:
                self._stable, self._previous = version, self._stable
        wait = self._let_go({self._stable, self._previous, *(a.model_version for a in (stable, canary) if a is not None)})
        self._tell()
        if away is not None:
            raise away
        return wait

    def _let_go(self, wanted: set[str]) -> float | None:
        """Mark unused models, and close those that were unused long enough. Returns the seconds until the next one is due."""
        now_ms = self._clock.now_ms()
        due: list[int] = []
        for version, kept in list(self._kept.items()):
            if version in wanted:
                kept.left_ms = None
                continue
            kept.left_ms = now_ms if kept.left_ms is None else kept.left_ms
            left_for = kept.left_ms + self._grace_ms - now_ms
            if left_for > 0:
                due.append(left_for)
                continue
            del self._kept[version]
            self._retired.add(version)
            self._close_later(kept.lease.retire())
            log.info("models: %s is not kept any more; its vectors are removed", version)
        return min(due) / 1000 if due else None

    async def _before(self, stable: Announcement) -> EncodesTexts:
        """What served before it, most likely: workers may still serve by it, and a rollback needs it."""
        parent = await self._loader.parent(stable)
        encoder = None if parent is None else await self._loader.at_start(parent)
        return encoder or await self._loader.base()

    def _keep(self, encoder: EncodesTexts) -> str:
        version = encoder.version
        if version in self._kept:
            encoder.close()
        else:
            opened = self._open(encoder)
            self._kept[version] = _Kept(opened, Lease(opened.close))
            self._retired.discard(version)
        return version

    def _tell(self) -> None:
        canary = self._announced.current("canary")
        serves = {"stable": self._stable}
        if canary is not None and canary.model_version in self._kept:
            serves["canary"] = canary.model_version
        self._metrics.serves(serves)

    def _close_later(self, closing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
