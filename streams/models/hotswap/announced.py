"""Follows the topic ``models``: which version each channel announces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from streams.engine.followers import Follower
from streams.engine.records import SourceRecord
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.registry.announcement import Announcement, Channel
from streams.models.registry.channels import Channels

log = logging.getLogger(__name__)
Apply = Callable[[Sequence[SourceRecord]], object]


class Announced(Protocol):
    """The announced versions of the channels. ``changed`` is set when they change."""

    changed: asyncio.Event

    @property
    def followers(self) -> Sequence[Follower]:
        """By which it knows."""
        ...

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def current(self, channel: Channel) -> Announcement | None: ...


class AnnouncedModels:
    """``changed`` is set at every announcement that holds."""

    def __init__(self, channels: Channels, follow: Callable[[Apply], Follower], metrics: ModelMetrics) -> None:
        self.changed = asyncio.Event()
        self._channels = channels
        self._metrics = metrics
        self._follower = follow(self._apply)

    @property
    def followers(self) -> Sequence[Follower]:
        return (self._follower,)

    async def start(self) -> None:
        """Returns when all that is announced by now is known. Raises what stopped the follower."""
        await self._follower.start(1)
        await self._follower.caught_up()

    async def stop(self) -> None:
        await self._follower.stop()

    def current(self, channel: Channel) -> Announcement | None:
        return self._channels.current(channel)

    def _apply(self, records: Sequence[SourceRecord]) -> None:
        for record in records:
            before = self._channels.refused.copy()
            announcement = self._channels.apply(record.key, record.value, record.headers)
            for reason, count in (self._channels.refused - before).items():
                self._metrics.refused(reason, count)
                log.warning("models: an announcement is refused (%s); the served models do not change", reason)
            if announcement is not None:
                what = "withdrawn" if announcement.withdrawn else "announced"
                log.info("models: %s %s on %s", announcement.model_version, what, announcement.channel)
                self.changed.set()


class NothingAnnounced:
    """Used if this worker has no key to verify announcements."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    @property
    def followers(self) -> Sequence[Follower]:
        return ()

    async def start(self) -> None:
        """There is nothing to follow."""

    async def stop(self) -> None:
        """There is nothing to follow."""

    def current(self, channel: Channel) -> Announcement | None:
        """Nothing, on any channel."""
        return None
