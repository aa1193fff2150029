"""``veilstream trainer``: trains on training pairs, judges the result, publishes and announces it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from streams.cli.saying import is_json, say

if TYPE_CHECKING:
    from encoders.finetune.progress import Progress
    from streams.audit.run_log import RunLog
    from streams.clock import Clock
    from streams.settings import KafkaSettings, Settings

_LOGGED_EACH_S = 10.0


@click.command(name="trainer")
@click.option("--once", is_flag=True, help="Train now on what the store holds, then exit.")
@click.option("--request", metavar="REASON", help="Only ask the running trainer for a round.")
@click.option("--tidy", is_flag=True, help="Only remove from the trainer's folder what is kept no longer.")
@click.option("--round", "round_", is_flag=True, hidden=True, help="The round in the trainer's folder: the trainer's own child.")
def command(once: bool, request: str | None, tidy: bool, round_: bool) -> int:
    """Collect training pairs, and train when the control topic asks for a round, until SIGINT or SIGTERM.

    An interrupted round continues when the trainer is started again. It needs models.key and models.pub.
    """
    if once + round_ + tidy + (request is not None) > 1:
        raise click.UsageError("--once, --request and --tidy exclude each other")
    from encoders.errors import require
    from streams.kafka.clients import quiet_client_loggers
    from streams.logs import begin_logs, follow_settings
    from streams.settings import load_kafka_settings, load_settings

    begin_logs("trainer")
    settings, kafka = load_settings(), load_kafka_settings()
    follow_settings(settings.log_level, settings.log_format)
    quiet_client_loggers()
    if request is not None:
        return _request(request, settings, kafka)
    if tidy:
        return _tidy(settings)
    require("train", "torch", "transformers", "peft", "tensorboard", "matplotlib")
    if round_:
        return _round(settings, kafka)
    return _once(settings, kafka) if once else _serve(settings, kafka)


def _request(reason: str, settings: Settings, kafka: KafkaSettings) -> int:
    from streams.clock import SystemClock
    from streams.training.catalogue_reader import send_control
    from streams.training.requests import request

    record = request(reason, SystemClock().now_ms())
    asyncio.run(send_control(record, settings, kafka))
    click.echo(f"requested a round: {record['request_id']}")
    return 0


def _tidy(settings: Settings) -> int:
    from streams.training.retention import prune_folder
    from streams.training.round_process import retention

    gone = prune_folder(settings.trainer_dir, retention(settings))
    click.echo("\n".join(f"removed {path}" for path in gone) if gone else "nothing has expired")
    return 0


def _round(settings: Settings, kafka: KafkaSettings) -> int:
    """Runs in the child process. The parent reports the outcome."""
    from streams.clock import SystemClock
    from streams.errors import TransientError
    from streams.training.round_directory import RoundDirectory
    from streams.training.round_process import TRY_AGAIN, do_round
    from streams.training.row_seal import row_seal
    from streams.training.torchrun import is_first, run_rank

    if not is_first():
        run_rank(RoundDirectory(settings.trainer_dir), row_seal(settings))
        return 0
    try:
        do_round(settings, kafka, RoundDirectory(settings.trainer_dir), SystemClock())
    except TransientError as error:
        say("ERROR", str(error), error)
        return TRY_AGAIN
    return 0


def _once(settings: Settings, kafka: KafkaSettings) -> int:
    from streams.clock import SystemClock

    clock = SystemClock()
    audit = asyncio.run(_audit(settings, kafka, clock))
    failure: BaseException | None = None
    try:
        return _round_now(settings, kafka, clock, audit)
    except BaseException as error:
        failure = error
        raise
    finally:
        asyncio.run(_stopped(audit, failure))


def _round_now(settings: Settings, kafka: KafkaSettings, clock: Clock, audit: RunLog) -> int:
    """The exit code is 1 if the round failed. A gate that says no is not a failure."""
    from streams.training.announcer import Announcer
    from streams.training.catalogue_reader import send_control
    from streams.training.requests import answer, request
    from streams.training.round_directory import RoundDirectory
    from streams.training.round_process import bounds, do_round
    from streams.training.row_seal import row_seal
    from streams.training.service import conclude
    from streams.training.store import PairStore

    shop = RoundDirectory(settings.trainer_dir)
    announcer = Announcer(settings, kafka, clock, audit)
    if settings.trainer_threads:
        import torch

        torch.set_num_threads(settings.trainer_threads)
    with shop.alone():
        store = PairStore(shop.root, bounds(settings), row_seal(settings))
        try:
            if shop.request is None:
                asked = request("once, by an operator", clock.now_ms())
                shop.begin(asked, up_to=store.last())
                asyncio.run(send_control(answer(asked, "started", asked["reason"], clock.now_ms()), settings, kafka))
            if shop.outcome is None:
                with Shown() if sys.stderr.isatty() and not is_json() else LoggedProgress() as shown:
                    do_round(settings, kafka, shop, clock, shown.tell)
            outcome = shop.outcome or {}
            asyncio.run(conclude(settings, kafka, shop, announcer, clock, store))
        finally:
            store.close()
    click.echo(f"{outcome['state']}: {outcome['reason']}" + (f"; {outcome['verdict']}" if outcome.get("verdict") else ""))
    return 0 if outcome["state"] == "finished" else 1


def _serve(settings: Settings, kafka: KafkaSettings) -> int:
    from streams.access.asking import Rights
    from streams.access.rights import rights_of
    from streams.clock import SystemClock
    from streams.training.service import TrainerService

    rights = Rights(kafka, "trainer", rights_of("trainer", settings))

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        clock = SystemClock()
        audit = await _audit(settings, kafka, clock)
        failure: BaseException | None = None
        try:
            await TrainerService(settings, kafka, clock, rights.refusal, audit).run(stop)
        except BaseException as error:
            failure = error
            raise
        finally:
            await _stopped(audit, failure)

    asyncio.run(main())
    return 0


async def _audit(settings: Settings, kafka: KafkaSettings, clock: Clock) -> RunLog:
    """The chain of this run, begun. Raises as ``open_run_log`` does, and what the writing raises."""
    from importlib.metadata import version

    from streams.audit.actions import STARTED
    from streams.audit.configuration import own_key_details, settings_details
    from streams.audit.topic import open_run_log
    from streams.privacy.key_folder import key_folder

    audit = await open_run_log("trainer", settings, kafka, clock)
    details = {"version": version("veilstream"), **settings_details(settings, kafka), **own_key_details(key_folder(settings), "trainer")}
    await audit.append(STARTED, details=details)
    return audit


async def _stopped(audit: RunLog, failure: BaseException | None) -> None:
    """What the trainer ends with is its failure, whatever becomes of this."""
    from streams.audit.actions import STOPPED
    from streams.errors import VeilstreamError
    from streams.wiring.audit import outcome_of

    try:
        await audit.append(STOPPED, details={"outcome": outcome_of(failure)})
    except VeilstreamError as error:
        logging.getLogger(__name__).warning("that the trainer stopped is not in the audit: %s", error)


class LoggedProgress:
    """A training's progress as lines of the log, one each ten seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def tell(self, progress: Progress) -> None:
        """Log one more step, if the last was long enough ago."""
        now = time.monotonic()
        if now >= self._next or progress.step == progress.steps:
            self._next = now + _LOGGED_EACH_S
            logging.getLogger(__name__).info("fine-tuning: step %d of %d, %s", progress.step, progress.steps, status_of(progress))

    def __enter__(self) -> LoggedProgress:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None


def status_of(progress: Progress, validation: str = "") -> str:
    """Loss, learning rate, pairs per second, the newest validation, time left."""
    return (
        f"loss {progress.loss:.3f} · rate {progress.learning_rate:.1e} · {progress.pairs_per_second:,.0f} pairs/s"
        f"{validation} · {progress.seconds_left:.0f} s left"
    )


class Shown:
    """A training's progress on the terminal: loss, learning rate, pairs per second, validation, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
        self._bars = Bars(*columns, console=Console(stderr=True))
        self._task = self._bars.add_task("fine-tuning", total=None, status="")
        self._validation = ""

    def tell(self, progress: Progress) -> None:
        """Show one more step."""
        if progress.validation is not None:
            self._validation = f" · validation {progress.validation:.4f}"
        status = status_of(progress, self._validation)
        self._bars.update(self._task, completed=progress.step, total=progress.steps, status=status)

    def __enter__(self) -> Shown:
        self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bars.stop()
