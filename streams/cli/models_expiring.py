"""Removes versions from the store of models that were kept long enough, for ``veilstream models``."""

from __future__ import annotations

import click
from nacl.signing import VerifyKey

from streams.audit.actions import EXPIRED
from streams.cli.audited import audited
from streams.cli.models_announcing import read
from streams.clock import SystemClock
from streams.models.registry.expiry import find_expired
from streams.models.registry.store import ModelStore
from streams.settings import Settings, load_kafka_settings
from streams.topics import DAY_MS


def expire_versions(settings: Settings, store: ModelStore, key: VerifyKey, keep: int | None, days: float | None, *, dry_run: bool) -> None:
    """``keep`` and ``days`` None: as the settings say. Each removal is told to the audit before, and said."""
    before_ms = SystemClock().now_ms() - round((settings.models_keep_days if days is None else days) * DAY_MS)
    gone = find_expired(store, key, read(settings, key), keep=settings.models_keep if keep is None else keep, before_ms=before_ms)
    if gone and not dry_run:
        with audited("models expire", settings, load_kafka_settings()) as audit:
            for version in gone:
                audit.tell(EXPIRED, version)
                store.remove(version)
                click.echo(f"removed {version}")
    for version in gone if dry_run else ():
        click.echo(f"would remove {version}")
    if not gone:
        click.echo("nothing has expired")
