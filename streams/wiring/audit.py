"""What a worker notes in the audit of its own run: that it started, with which settings and keys, and that it stopped."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, cast

from streams.audit.actions import STARTED, STOPPED
from streams.errors import PRODUCT, FatalError, TransientError
from streams.topics import PRIVACY_AUDIT

if TYPE_CHECKING:
    from streams.audit.run_log import RunLog
    from streams.privacy.keys import Stage
    from streams.wiring.stages import Bootstrap


class WorkerJournal:
    """The engine's Journal over the chain of this run."""

    def __init__(self, bootstrap: Bootstrap, stage: Stage) -> None:
        self._bootstrap = bootstrap
        self._stage = stage
        self._log: RunLog | None = None

    async def begin(self) -> None:
        from streams.audit.configuration import keys_details, settings_details
        from streams.audit.topic import open_run_log
        from streams.privacy.key_folder import key_folder

        settings, kafka = self._bootstrap.settings, self._bootstrap.kafka
        codec = self._bootstrap.codecs.for_topic(PRIVACY_AUDIT)
        self._log = await open_run_log(self._stage, settings, kafka, self._bootstrap.clock, codec)
        details = {"version": version("veilstream"), **settings_details(settings, kafka), **keys_details(key_folder(settings), self._stage)}
        try:
            await self._log.append(STARTED, details=details)
        except TransientError as error:  # the broker is there: it has just told that the topics are
            raise FatalError(f"that this worker starts can't be written to the audit: {error}") from error

    async def end(self, failure: BaseException | None) -> None:
        if self._log is not None:
            await self._log.append(STOPPED, details={"outcome": outcome_of(failure)})


def worker_journal(bootstrap: Bootstrap, stage: str) -> WorkerJournal:
    return WorkerJournal(bootstrap, cast("Stage", stage))


def outcome_of(failure: BaseException | None) -> str:
    """In one word: a message may quote what must not be in the audit."""
    if failure is None:
        return "ok"
    return type(failure).__name__ if isinstance(failure, PRODUCT) else "failed"
