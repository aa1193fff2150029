"""Asks the workers, follows the topics, and makes one view of it, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import orjson

from streams.clock import Clock
from streams.console.flow import FlowHistory, flow_view
from streams.console.models import models_view
from streams.console.notices import notices
from streams.console.privacy import privacy_view
from streams.console.samples import Readings
from streams.console.scalars import Points, read_curves
from streams.console.scraping import Scraper
from streams.console.topics import Topics
from streams.console.view import Snapshot
from streams.console.workers import workers_view
from streams.settings import Settings

log = logging.getLogger(__name__)

WATCHED_S = 2.0
ALONE_S = 10.0
"""Seconds between two rounds while somebody looks, and while nobody does."""
MOST_WATCHERS = 32


class Console:
    """Makes the view as long as ``run`` runs. ``latest`` is its JSON."""

    def __init__(self, settings: Settings, scraper: Scraper, readings: Readings, topics: Topics, clock: Clock) -> None:
        self._settings, self._scraper, self._readings, self._topics, self._clock = settings, scraper, readings, topics, clock
        self._history = FlowHistory()
        self._curves: dict[str, dict[str, Points]] = {}
        self._watchers = 0
        self._someone = asyncio.Event()
        self._made = asyncio.Condition()
        self.latest = b""

    async def run(self) -> None:
        """Until cancelled. Raises what must not happen, so that the process ends with it."""
        async with asyncio.TaskGroup() as group:
            for follower in self._topics.followers():
                group.create_task(follower.run())
            group.create_task(self.look())

    async def first(self) -> None:
        """Returns when there is a view."""
        async with self._made:
            await self._made.wait_for(lambda: bool(self.latest))

    async def watch(self) -> AsyncGenerator[bytes]:
        """The view now, and each further one."""
        self._watchers += 1
        self._someone.set()
        try:
            sent = b""
            while True:
                async with self._made:
                    await self._made.wait_for(lambda before=sent: self.latest is not before and bool(self.latest))  # type: ignore[misc]
                    sent = self.latest
                yield sent
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._someone.clear()

    @property
    def is_full(self) -> bool:
        """Whether as many watch as may."""
        return self._watchers >= MOST_WATCHERS

    async def look(self) -> None:
        """Ask the workers and make views, until cancelled."""
        while True:
            await self._scraper.ask()
            await self._read_curves()
            self._history.take(self._readings)
            self._topics.rounds.watch(self._readings)
            latest = orjson.dumps(self.snapshot())
            async with self._made:
                self.latest = latest
                self._made.notify_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALONE_S):
                    await asyncio.sleep(WATCHED_S)
                    await self._someone.wait()

    async def _read_curves(self) -> None:
        """Of the rounds that are shown, where the trainer's folder is on this machine. Of a round that has ended it is read once."""
        folder = self._settings.trainer_dir / "tensorboard"
        shown = self._topics.rounds.shown()
        for name, is_over in shown.items():
            if not is_over or name not in self._curves:
                self._curves[name] = await asyncio.to_thread(read_curves, folder / name)
        for name in self._curves.keys() - shown.keys():
            del self._curves[name]

    def snapshot(self) -> Snapshot:
        """The view as of now."""
        topics, readings = self._topics, self._readings
        workers = workers_view(self._scraper.problems, readings)
        flow = flow_view(readings, workers, self._history, self._settings.k_time_s)
        letters = topics.letters.view(readings)
        training = topics.rounds.view(readings, lambda name: self._curves.get(name, {}))
        audit = topics.audit.view(topics.of_audit.behind, is_read=topics.of_audit.is_read)
        privacy = privacy_view(self._settings.k, readings, topics.audit.measured.all(), audit)
        return Snapshot(
            at=self._clock.now_ms(),
            every_s=WATCHED_S,
            notices=notices(topics.problems(), workers, flow, letters.sources, training, privacy, readings),
            workers=workers,
            flow=flow,
            models=models_view(readings, topics.announced),
            recommendations=topics.latest.view(topics.titles.get),
            dead_letters=letters,
            training=training,
            privacy=privacy,
        )
