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
        if self._log is not None:
            asyncio.run(self._log.append(action, subject, details))

    def note(self, action: str, details: Mapping[str, str] | None = None) -> None:
        """After it was done, or has failed: if the audit can't have it, that is only said."""
        from streams.errors import VeilstreamError

        try:
            self.tell(action, details=details)
        except VeilstreamError as error:
            click.echo(f"the audit lacks how this ended ({action}): {error}", err=True)


@contextmanager
def audited(command: str, settings: Settings, kafka: KafkaSettings) -> Iterator[Audited]:
    """What the command does inside is told to the audit: that it begins, with the heads of the chains that were written to last, and that
    it ends. Without operators.key nothing is, and that is said."""
    from streams.privacy.key_folder import key_folder
    from streams.wiring.audit import outcome_of

    if not (key_folder(settings) / "operators.key").exists():
        click.echo(
            f"this is not in the audit: operators.key is not in {key_folder(settings)}; "
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
        told.note("stopped", {"outcome": outcome_of(error)})
        raise
    told.note("stopped", {"outcome": outcome_of(None)})


async def _begun(command: str, settings: Settings, kafka: KafkaSettings) -> RunLog:
    from importlib.metadata import version

    from streams.audit.anchors import heads_in_details
    from streams.audit.auditors import known_keys
    from streams.audit.configuration import own_key_details, settings_details
    from streams.audit.topic import open_run_log, recent_heads
    from streams.clock import SystemClock
    from streams.privacy.key_folder import key_folder

    log = await open_run_log("operators", settings, kafka, SystemClock())
    heads = await recent_heads(settings, kafka, known_keys([key_folder(settings)]))
    details = {"command": command, "version": version("veilstream"), **settings_details(settings, kafka)}
    details |= own_key_details(key_folder(settings), "operators")
    await log.append("started", details=details | heads_in_details(reversed(heads.items())))
    return log
