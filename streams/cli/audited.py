"""The audit of a command: a chain of its own, from what was asked to how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from streams.audit.run_log import RunLog
    from streams.settings import KafkaSettings, Settings


class Audited:
    """Where a command tells what it is about to do. What can't be told is not done: ``tell`` raises."""

    def __init__(self, log: RunLog | None) -> None:
        self._log = log

    def tell(self, action: str, subject: str | None = None, details: Mapping[str, str] | None = None) -> None:
        """Before it is done. Returns when the broker has it; raises TransientError, BrokerUnavailable or ConfigurationError."""
        asyncio.run(self.tell_async(action, subject, details))

    async def tell_async(self, action: str, subject: str | None = None, details: Mapping[str, str] | None = None) -> None:
        """The same on an event loop."""
        if self._log is not None:
            await self._log.append(action, subject, details)


@contextmanager
def audited(command: str, settings: Settings, kafka: KafkaSettings) -> Iterator[Audited]:
    """What the command does inside is told to the audit: that it begins, with the heads of the chains that were written to last, and that
    it ends. Without operators.key nothing is, and that is said."""
    from streams.wiring.audit import outcome_of

    if not (settings.keys_dir / "operators.key").exists():
        click.echo(
            f"this is not in the audit: operators.key is not in {settings.keys_dir}; "
            "make it with `veilstream keys generate --only operators`",
            err=True,
        )
        yield Audited(None)
        return
    log = asyncio.run(_begun(command, settings, kafka))
    told = Audited(log)
    try:
        yield told
    except BaseException as error:
        _end(told, outcome_of(error))
        raise
    told.tell("stopped", details={"outcome": "ok"})


async def _begun(command: str, settings: Settings, kafka: KafkaSettings) -> RunLog:
    from importlib.metadata import version

    from streams.audit.anchors import heads_in_details
    from streams.audit.auditors import verify_keys
    from streams.audit.configuration import own_key_details, settings_details
    from streams.audit.topic import open_run_log, recent_heads
    from streams.clock import SystemClock

    log = await open_run_log("operators", settings, kafka, SystemClock())
    heads = await recent_heads(settings, kafka, verify_keys([settings.keys_dir]))
    details = {"command": command, "version": version("veilstream"), **settings_details(settings, kafka)}
    details |= own_key_details(settings.keys_dir, "operators")
    await log.append("started", details=details | heads_in_details(reversed(heads.items())))
    return log


def _end(told: Audited, outcome: str) -> None:
    """After a failure, which is what the command ends with, whatever becomes of this."""
    from streams.errors import VeilstreamError

    try:
        told.tell("stopped", details={"outcome": outcome})
    except VeilstreamError as error:
        click.echo(f"the end of this is not in the audit: {error}", err=True)
