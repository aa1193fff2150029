"""``veilstream worker``: run one or several stages."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time

import click

from streams.cli.saying import say

STAGE_NAMES = ("ingest", "catalogue", "profile", "feedback", "learning")
_GRACE_S = 30.0
_CONSOLE = "console"


@click.command(name="worker")
@click.option(
    "--stage",
    "stages",
    multiple=True,
    required=True,
    type=click.Choice([*STAGE_NAMES, "all"]),
    help="Stage to run. Repeat the option, or use `all`, to run several stages, each in its own process.",
)
@click.option(
    "--console/--no-console",
    "with_console",
    default=None,
    help="Serve the console, too (docs/console.md), in a process of its own. Default: VEILSTREAM_CONSOLE.",
)
def command(stages: tuple[str, ...], with_console: bool | None) -> None:
    """Run stages until SIGINT or SIGTERM.

    Each stage is its own consumer group. The process ends by itself, with exit code 1 and one line that says why, when
    it has an error that it can't repair. Let the process manager restart it. Settings: `veilstream settings`.
    """
    from streams.logs import begin_logs

    names = list(STAGE_NAMES) if "all" in stages else [name for name in STAGE_NAMES if name in stages]
    begin_logs(names[0] if len(names) == 1 else None)
    if with_console is None:
        from streams.settings import load_settings

        settings = load_settings()
        with_console = settings.console
    if len(names) == 1 and not with_console:
        run_stage(names[0])
    else:
        supervise(names, with_console=with_console)


def run_stage(stage: str) -> None:
    """Run one stage in this process; raises the VeilstreamError that ended it."""
    # The stages multiply small matrices very often: a second BLAS thread mostly spins, on a core that another stage needs.
    # OpenBLAS reads this when numpy is imported, which happens below.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import uvloop

    from streams.engine.process import leave
    from streams.errors import PRODUCT
    from streams.kafka.clients import quiet_client_loggers
    from streams.logs import begin_logs, follow_settings
    from streams.settings import load_kafka_settings, load_settings

    begin_logs(stage)
    settings, kafka = load_settings(), load_kafka_settings()
    follow_settings(settings.log_level, settings.log_format)
    quiet_client_loggers()
    from streams.wiring.stages import Bootstrap

    bootstrap = Bootstrap(settings, kafka)
    bootstrap.ask_ids(stage)  # here, where no event loop has to wait for a registry

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        process = bootstrap.process(stage)
        hand_over_quickly()
        try:
            await process.run(stop, loaded=tune_garbage_collection)
        except PRODUCT as error:
            if not process.left_behind:
                raise
            say("ERROR", str(error))
            leave(1)
        if process.left_behind:
            leave(0)

    uvloop.run(main())


def tune_garbage_collection() -> None:
    """Run the garbage collector less often.

    A batch makes many small objects and hardly a cycle. Looking for cycles every 700 objects takes a quarter of a stage's time. Objects
    that were loaded at the start are never checked again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def hand_over_quickly() -> None:
    """Shorten the interpreter's switch interval. Else the event loop may wait 5 ms (the default) for a computing thread."""
    sys.setswitchinterval(0.0005)


def supervise(names: list[str], *, with_console: bool = False) -> None:
    """Run one child process per stage. If one ends, all are ended; the console is missed, and nothing else."""
    from streams.errors import FatalError
    from streams.settings import load_settings

    base_port = load_settings().metrics_port
    children: dict[str, subprocess.Popen[bytes]] = {}
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        for name in names:
            port = base_port + STAGE_NAMES.index(name) if base_port and len(names) > 1 else base_port
            children[name] = _started(["worker", "--stage", name, "--no-console"], VEILSTREAM_METRICS_PORT=str(port))
        if with_console:
            children[_CONSOLE] = _started([_CONSOLE])
        while not stopping and all(child.poll() is None for name, child in children.items() if name != _CONSOLE):
            if _CONSOLE in children and children[_CONSOLE].poll() is not None:
                del children[_CONSOLE]
                say("WARNING", "the console has ended, its message is above; the stages go on")
            time.sleep(0.2)
    finally:
        ended = {name: child.poll() for name, child in children.items()}
        _end(children)
    failed = [name for name, code in ended.items() if code not in (None, 0)]
    if failed:
        raise FatalError(f"stage {', '.join(failed)} ended; its message is above")


def _started(arguments: list[str], **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "streams.cli.main", *arguments], env={**os.environ, **variables})


def _end(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + _GRACE_S
    for child in children.values():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
