"""Writes the trainer's announcements on ``models``: a new version, and the promotion or withdrawal of a canary."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from streams.audit.actions import EXPIRED, announcement_details
from streams.audit.run_log import RunLog
from streams.clock import Clock
from streams.models.registry.announcement import Announcement, Channel, announce, withdraw
from streams.models.registry.announcing import send_announcement, settle_head
from streams.models.registry.channels import Channels, current_channels
from streams.models.registry.expiry import find_expired
from streams.models.registry.store import ModelStore
from streams.privacy.key_folder import key_folder
from streams.privacy.keys import load_model_signing_key, load_model_verify_key
from streams.settings import KafkaSettings, Settings
from streams.topics import DAY_MS

log = logging.getLogger(__name__)


class Announcer:
    """Writes announcements on the topic ``models``.

    Announcing the current state again writes nothing but the store's head, if it lacks it. So a step that a kill interrupted can be
    repeated.
    """

    def __init__(self, settings: Settings, kafka: KafkaSettings, clock: Clock, audit: RunLog | None = None) -> None:
        """Raises ConfigurationError if a key is missing. This is checked here, so that it does not fail later when a model is ready.

        With ``audit``, every announcement is told there before it is made.
        """
        self._audit = audit
        self._settings, self._kafka, self._clock = settings, kafka, clock
        self._key = load_model_signing_key(key_folder(settings) / "models.key")
        self._verify = load_model_verify_key(key_folder(settings) / "models.pub")

    async def channels(self) -> Channels:
        return await current_channels(self._settings, self._kafka, self._verify)

    async def put(self, version: str, reason: str, *, share: float) -> None:
        """A version of the store to a share of the pseudonyms, or with 0 to everybody."""
        channels = await self.channels()
        channel: Channel = "canary" if share else "stable"
        current = channels.current(channel)
        if current is None or current.model_version != version or current.canary_share != share:
            store = ModelStore(self._settings.models)
            manifest = store.read_manifest(version, self._verify)
            announcement = announce(
                manifest,
                store.location(version),
                channel,
                announced_at=channels.next_time(channel, self._clock.now_ms()),
                counter=channels.next_counter(channel),
                canary_share=share,
                reason=reason,
            )
            await self._send(announcement, "promoted")
        else:
            await settle_head(channels, self._settings)
        if not share:
            await self.end_canary(version, reason)

    async def end_canary(self, version: str, reason: str) -> None:
        """Withdraw the canary where it serves this version."""
        channels = await self.channels()
        canary = channels.current("canary")
        if canary is not None and canary.model_version == version:
            announcement = withdraw(
                canary,
                announced_at=channels.next_time("canary", self._clock.now_ms()),
                counter=channels.next_counter("canary"),
                reason=reason,
            )
            await self._send(announcement, "withdrawn")

    async def expire(self) -> list[str]:
        """Remove the versions that are kept no longer from the store, each told to the audit before; the versions that are left. Raises
        TransientError if store or broker are away."""
        store, settings = ModelStore(self._settings.models), self._settings
        before_ms = self._clock.now_ms() - round(settings.models_keep_days * DAY_MS)
        channels = await self.channels()
        gone = await asyncio.to_thread(find_expired, store, self._verify, channels, keep=settings.models_keep, before_ms=before_ms)
        for version in gone:
            if self._audit is not None:
                await self._audit.append(EXPIRED, version)
            await asyncio.to_thread(store.remove, version)
            log.info("version %s was kept long enough, and is removed from the store", version)
        return await asyncio.to_thread(store.list_versions)

    async def _send(self, announcement: Announcement, action: str) -> None:
        if self._audit is not None:
            await self._audit.append(action, announcement.model_version, announcement_details(announcement))
        await send_announcement(announcement, self._key, self._settings, self._kafka)


def incumbent_of(channels: Channels) -> tuple[str, str, int] | None:
    """(stable's version, the canary's, when it was announced), where a canary is served. Where nothing was promoted yet, stable is what
    the canary was trained from."""
    canary = channels.current("canary")
    if canary is None:
        return None
    stable = channels.current("stable")
    version: Any = canary.parent if stable is None else stable.model_version
    return None if version in (None, canary.model_version) else (version, canary.model_version, canary.announced_at)
