"""Follows the topic ``models``: which version each channel announces."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from streams.backoff import Backoff
from streams.engine.followers import Follower
from streams.engine.records import SourceRecord
from streams.errors import TransientError
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.registry.announcement import CHANNELS, Announcement, Channel
from streams.models.registry.channels import Channels
from streams.models.registry.known import KnownAnnouncements

log = logging.getLogger(__name__)
_ASKING = "ask the stores what is announced"
_ASK_AGAIN_S = 60.0
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
    """``changed`` is set at every announcement that holds.

    The topic alone may be rolled back or emptied by anyone who may write to it. So what this worker has seen is kept on disk, and the
    signed heads of the stores are read at the start.
    """

    def __init__(
        self,
        channels: Channels,
        follow: Callable[[Apply], Follower],
        metrics: ModelMetrics,
        known: KnownAnnouncements,
        *,
        retry_s: float = 5.0,
    ) -> None:
        """``retry_s``: seconds until a store that could not be reached is asked again; more each time, a minute at most."""
        self.changed = asyncio.Event()
        self._channels = channels
        self._metrics = metrics
        self._known = known
        self._follower = follow(self._apply)
        self._backoff = Backoff(retry_s, max(retry_s, _ASK_AGAIN_S))
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_started = False

    @property
    def followers(self) -> Sequence[Follower]:
        return (self._follower,)

    async def start(self) -> None:
        """Returns when all that is announced by now is known, as far as the stores can be reached. Raises what stopped the follower."""
        await self._follower.start(1)
        await self._follower.caught_up()
        self._learn(await asyncio.to_thread(self._known.kept))
        try:
            await self._ask_stores()
        except TransientError as error:
            log.warning("models: what is announced is known from the topic alone for now: %s", error)
            self._run(self._ask_again())
        self._is_started = True
        self._keep()

    async def stop(self) -> None:
        await self._follower.stop()
        for task in self._tasks:
            if task.get_name() == _ASKING:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def current(self, channel: Channel) -> Announcement | None:
        return self._channels.current(channel)

    def _apply(self, records: Sequence[SourceRecord]) -> None:
        is_new = False
        for record in records:
            before = self._channels.refused.copy()
            announcement = self._channels.apply(record.key, record.value, record.headers)
            self._count_refused(before)
            if announcement is not None:
                is_new = True
                what = "withdrawn" if announcement.withdrawn else "announced"
                log.info("models: %s %s on %s", announcement.model_version, what, announcement.channel)
                if announcement.counter == 0:
                    log.warning(
                        "models: the announcement of %s has no counter, so an older one could take its place, and Veilstream 0.3 will "
                        "refuse it; announce it again with `veilstream models promote`",
                        announcement.channel,
                    )
                self.changed.set()
        if is_new and self._is_started:
            self._keep()

    def _learn(self, data: bytes | None) -> None:
        before = self._channels.refused.copy()
        for announcement in self._channels.learn(data):
            log.warning(
                "models: the topic lacks announcement %d of %s (%s), or has an older one: somebody else may have written there; "
                "announce the intended version again",
                announcement.counter,
                announcement.channel,
                announcement.model_version,
            )
            self.changed.set()
        self._count_refused(before)

    def _count_refused(self, before: Counter[str]) -> None:
        for reason, count in (self._channels.refused - before).items():
            self._metrics.refused(reason, count)
            known = ", ".join(f"{record['counter']} of {record['channel']}" for record in self._channels.head.records()) or "none"
            log.warning(
                "models: an announcement is refused (%s); the served models do not change; the highest counters known are %s", reason, known
            )

    async def _ask_stores(self) -> None:
        announced = [found for name in CHANNELS if (found := self._channels.head.last(name)) is not None]
        for data in await asyncio.to_thread(self._known.published, announced):
            self._learn(data)

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(self._backoff.next_s())
            try:
                await self._ask_stores()
            except TransientError as error:
                log.warning("models: what is announced is still known from the topic alone: %s", error)
            else:
                self._keep()
                return

    def _keep(self) -> None:
        if self._channels.head.records():
            self._run(asyncio.to_thread(self._known.keep, self._channels.head.to_bytes()), "keep what is announced")

    def _run(self, work: Coroutine[Any, Any, None], name: str = _ASKING) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
