"""Writes and reads the topic ``models`` for ``veilstream models``."""

from __future__ import annotations

import asyncio

import click
from nacl.signing import VerifyKey

from streams.audit.actions import announcement_details
from streams.cli.audited import Audited
from streams.clock import SystemClock
from streams.models.registry.announcement import Announcement, Channel, announce, withdraw
from streams.models.registry.announcing import send_announcement
from streams.models.registry.channels import Channels, current_channels
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore
from streams.privacy.keys import ModelSigningKey
from streams.settings import Settings, load_kafka_settings


def read(settings: Settings, key: VerifyKey) -> Channels:
    """What every channel serves now. Raises BrokerUnavailable, and ConfigurationError if the topic is missing."""
    return asyncio.run(current_channels(settings, load_kafka_settings(), key))


def announce_version(
    settings: Settings,
    store: ModelStore,
    key: ModelSigningKey,
    manifest: Manifest,
    share: float | None,
    reason: str,
    audit: Audited,
    after: int = 0,
    *,
    action: str = "promoted",
) -> None:
    """Writes the announcement of a version and says so; ``share`` None is everybody. A canary that served it ends. Its counter is above
    ``after``. ``action`` is what the audit calls it."""
    channels = read(settings, key.verify_key)
    channel: Channel = "stable" if share is None else "canary"
    before = channels.current(channel)
    announcement = announce(
        manifest,
        store.location(manifest.model_version),
        channel,
        announced_at=channels.next_time(channel, SystemClock().now_ms()),
        counter=channels.next_counter(channel, after),
        canary_share=share or 0.0,
        reason=reason,
    )
    _send(settings, key, announcement, action, audit)
    was = f", after {before.model_version}" if before is not None and before.model_version != manifest.model_version else ""
    click.echo(f"{channel} serves {manifest.model_version}{'' if share is None else f' to {share:.4g} of the pseudonyms'}{was}")
    canary = channels.current("canary")
    if share is None and canary is not None and canary.model_version == manifest.model_version:
        withdraw_canary(settings, key, channels, canary, f"{manifest.model_version} is stable", audit)


def withdraw_canary(
    settings: Settings, key: ModelSigningKey, channels: Channels, current: Announcement, reason: str, audit: Audited
) -> None:
    """Writes that the canary serves nothing, and says so."""
    at, counter = channels.next_time("canary", SystemClock().now_ms()), channels.next_counter("canary")
    _send(settings, key, withdraw(current, announced_at=at, counter=counter, reason=reason), "withdrawn", audit)
    click.echo(f"canary serves nothing, after {current.model_version}")


def _send(settings: Settings, key: ModelSigningKey, announcement: Announcement, action: str, audit: Audited) -> None:
    audit.tell(action, announcement.model_version, announcement_details(announcement))
    asyncio.run(send_announcement(announcement, key, settings, load_kafka_settings()))
