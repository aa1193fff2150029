"""The models that a profile worker serves, and how one replaces another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from streams.engine.followers import Follower, WatchedTogether
from streams.errors import TransientError
from streams.models.hotswap.announced import Announced
from streams.models.hotswap.built_model import BuiltModel
from streams.models.hotswap.lease import holding
from streams.models.hotswap.loading import ModelLoader
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.hotswap.reconciler import Reconciler
from streams.models.hotswap.serving_model import Routing, ServingModel
from streams.models.registry.announcement import Announcement
from streams.ranking.rules import DAY_MS, ProfileRules

if TYPE_CHECKING:
    from encoders.batching.micro_batcher import EncodesTexts

log = logging.getLogger(__name__)
_LOOK_AGAIN_S = 0.2


class ProfileModels(WatchedTogether):
    """An ``InUse`` of ``Routing``, and a follower of ``models`` and ``items.vectors`` for the stage's process.

    An announced model is built next to the serving one. It takes over when it is complete, by one assignment. So a batch sees
    either the old models or the new ones. The old ones are closed when the last batch that uses them has ended.
    """

    def __init__(
        self,
        *,
        topic: str,
        announced: Announced,
        loader: ModelLoader,
        build: Callable[[EncodesTexts], BuiltModel],
        rules: ProfileRules,
        metrics: ModelMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self._announced = announced
        self._loader = loader
        self._build = build
        self._rules = rules
        self._metrics = metrics
        self._monotonic = monotonic
        self._partitions = 0
        self._built: dict[str, BuiltModel] = {}
        self._since: dict[tuple[str, int], float | None] = {}
        """Since when an announcement is to be obeyed; None when it is."""
        self._routing: Routing | None = None
        self._serving: tuple[BuiltModel, ...] = ()
        self._closing: set[asyncio.Task[None]] = set()
        self._reconciler = Reconciler(self._step, announced.changed)

    async def start(self, partitions: int) -> None:
        """Returns when a model serves: the announced one if it is not refused, and complete; else its parent or VEILSTREAM_MODEL's, if
        that is; else what there is of the announced one. Raises ConfigurationError if no model can be loaded."""
        self._partitions = partitions
        await self._announced.start()
        stable = self._announced.current("stable")
        chosen = None if stable is None else await self._candidate(stable, self._loader.at_start)
        if stable is None:
            self._serve((await self._add(await self._loader.base()), self._rules))
        elif chosen is not None and self._is_complete(chosen):
            self._serve((chosen, self._rules_of(stable)))
        else:
            self._serve(await self._before(stable, chosen))
        self._reconciler.start()

    async def stop(self) -> None:
        await self._reconciler.stop()
        await self._announced.stop()
        self._loader.close()
        await asyncio.gather(*(built.follower.stop() for built in self._built.values()))

    async def caught_up(self, partition: int | None = None) -> None:
        """Wait until what serves has everything that is in ``items.vectors`` now. Raises what stopped its follower."""
        for built in self._serving:
            await built.follower.caught_up(partition)

    async def close(self) -> None:
        await asyncio.gather(*(built.encoder.close() for built in self._built.values()), *self._closing)

    def _followed(self) -> Sequence[Follower]:
        """Readiness does not wait for a model that is only being built."""
        return (*self._announced.followers, *(built.follower for built in self._serving))

    @property
    def items(self) -> int:
        """Of the model that serves; 0 before one does."""
        return 0 if self._routing is None else len(self._routing.stable.matrix)

    @contextmanager
    def use(self) -> Iterator[Routing]:
        routing = self._routing
        if routing is None:
            raise RuntimeError("no model serves before the start")
        with holding([built.lease for built in self._serving]):
            yield routing

    async def _step(self) -> float | None:
        stable, canary = self._announced.current("stable"), self._announced.current("canary")
        away: TransientError | None = None
        waiting = False
        ready: dict[str, BuiltModel] = {}
        for announcement in (stable, canary):
            if announcement is None:
                continue
            try:
                built = await self._candidate(announcement, self._loader.announced)
            except TransientError as error:
                away = error  # the other channel's change must not wait for it
                continue
            if built is not None and self._is_ready(built, announcement):
                ready[built.version] = built
            waiting = waiting or (built is not None and built.version not in ready)
        await self._warm(ready)
        self._change(stable, canary, ready)
        self._drop({a.model_version for a in (stable, canary) if a is not None})
        if away is not None:
            raise away
        return _LOOK_AGAIN_S if waiting else None

    def _is_ready(self, built: BuiltModel, announcement: Announcement) -> bool:
        serves = built in self._serving
        self._since.setdefault((built.version, announcement.announced_at), None if serves else self._monotonic())
        return serves or self._is_complete(built)

    def _change(self, stable: Announcement | None, canary: Announcement | None, ready: dict[str, BuiltModel]) -> None:
        """Serve by what is announced and ready; without it, by what serves now."""
        routing = self._routing
        if routing is None:
            return
        model = (self._serving[0], routing.stable.rules)
        if stable is not None and stable.model_version in ready:
            model = (ready[stable.model_version], self._rules_of(stable))
        if canary is not None and canary.model_version in ready and canary.model_version != model[0].version:
            self._serve(model, (ready[canary.model_version], self._rules_of(canary)), canary.canary_share)
        else:
            self._serve(model)
        for announcement in (stable, canary):
            if announcement is not None and announcement.model_version in ready:
                self._tell_time(announcement)

    def _serve(
        self, stable: tuple[BuiltModel, ProfileRules], canary: tuple[BuiltModel, ProfileRules] | None = None, share: float = 0.0
    ) -> None:
        models = [
            ServingModel(built.queries, built.matrix, rules, built.ranker) for built, rules in (stable, *((canary,) if canary else ()))
        ]
        routing = Routing(models[0], models[1] if canary else None, share)
        if routing == self._routing:
            return
        before = self._routing
        for built, _ in (stable, *((canary,) if canary else ())):
            built.completeness = None
        # No await between these: a batch begins before both or after both.
        self._routing = routing
        self._serving = (stable[0], *((canary[0],) if canary else ()))
        self._metrics.serves({name: m.version for name, m in zip(("stable", "canary"), models, strict=False)})
        if before is None or before.stable.version != routing.stable.version:
            was = "" if before is None else f", after {before.stable.version}"
            log.info("models: stable serves %s with %d items%s", routing.stable.version, len(routing.stable.matrix), was)
        if routing.canary is not None:
            log.info("models: canary serves %s to %.4g of the pseudonyms", routing.canary.version, share)
        elif before is not None and before.canary is not None:
            log.info("models: canary serves nothing")

    def _tell_time(self, announcement: Announcement) -> None:
        key = (announcement.model_version, announcement.announced_at)
        since = self._since.get(key)
        if since is not None:
            self._metrics.swapped(self._monotonic() - since)
            self._since[key] = None

    async def _before(self, stable: Announcement, chosen: BuiltModel | None) -> tuple[BuiltModel, ProfileRules]:
        """What served before, most likely; ``chosen``, the announced one, where neither is complete."""
        parent = await self._loader.parent(stable)
        found = None if parent is None else await self._candidate(parent, self._loader.at_start)
        if parent is not None and found is not None and self._is_complete(found):
            return found, self._rules_of(parent)
        base = await self._add(await self._loader.base())
        if chosen is None or self._is_complete(base):
            return base, self._rules
        return chosen, self._rules_of(stable)

    async def _candidate(
        self, announcement: Announcement, load: Callable[[Announcement], Awaitable[EncodesTexts | None]]
    ) -> BuiltModel | None:
        """Load the model and read its vectors, if not done yet. None if the model is refused."""
        built = self._built.get(announcement.model_version)
        if built is None:
            encoder = await load(announcement)
            if encoder is None:
                return None
            built = await self._add(encoder)
        return built

    async def _add(self, encoder: EncodesTexts) -> BuiltModel:
        """Returns when all of its vectors that are there by now are in its matrix."""
        known = self._built.get(encoder.version)
        if known is not None:
            encoder.close()
            return known
        built = self._build(encoder)
        try:
            await built.start(self._partitions)
        except BaseException:
            await built.close()
            raise
        self._built[built.version] = built
        return built

    def _is_complete(self, built: BuiltModel) -> bool:
        completeness = built.completeness
        if completeness is None:
            return True
        now = self._monotonic()
        self._metrics.held(built.version, completeness.held(now))
        if not completeness.is_complete(now):
            return False
        log.info("models: %s is complete with %d items", built.version, len(built.matrix))
        built.completeness = None
        return True

    async def _warm(self, ready: dict[str, BuiltModel]) -> None:
        """Encode frequent query texts before the change, instead of in the first batches after it."""
        for built in ready.values():
            if built not in self._serving:
                await built.warm(self._serving[0].queries.known())

    def _drop(self, announced: set[str]) -> None:
        for version, built in list(self._built.items()):
            if built not in self._serving and version not in announced:
                del self._built[version]
                self._metrics.gone(version)
                log.info("models: %s is closed", version)
                task = asyncio.ensure_future(built.lease.retire())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _rules_of(self, announcement: Announcement) -> ProfileRules:
        serving = announcement.serving
        if serving is None:
            return self._rules
        return replace(
            self._rules,
            half_life_ms=serving.half_life_days * DAY_MS,
            popularity_weight=serving.popularity_weight,
            together_weight=serving.together_weight,
            threshold=serving.threshold,
        )
