"""``veilstream demo``: everything, against a simulated shop, on the embedded broker."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click


@click.command(name="demo")
@click.option("--keep", is_flag=True, help="Run until stopped.")
@click.option("--learn", is_flag=True, help="With a trainer. Runs until a new model is promoted or refused, about nine minutes.")
@click.option("--console", "show", is_flag=True, help="With the console, a page that shows it all; its address is printed.")
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Serve the workers' /metrics there, the second worker's at the next port, and so on. Default: free ports.",
)
@click.option("--seconds", type=click.FloatRange(5, 3600), help="How long the shop is open; default: 50, with --learn at most 720.")
@click.option("--items", default=2500, show_default=True, type=click.IntRange(100, 40_000), help="Items in the catalogue.")
@click.option("--shoppers", type=click.IntRange(10, 100_000), help="Simulated shoppers; default: 400, with --learn 800.")
@click.option("--seed", default=1, show_default=True, help="Seed of all random numbers of the shop.")
@click.option(
    "--out", default=Path("var/demo"), show_default=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for results."
)
def command(
    keep: bool, learn: bool, show: bool, metrics: str | None, seconds: float | None, items: int, shoppers: int | None, seed: int, out: Path
) -> None:
    """Run everything against a simulated shop, on an embedded broker.

    Simulated shoppers search, view, buy and react to recommendations. The screen shows it as it happens. The shoppers who see
    recommendations are compared with a control group that sees none.

    The demo ends by itself within three minutes and writes summary.json. With --keep it runs until stopped. With --learn a trainer
    collects what the shoppers do, fine-tunes a small model (bundled-en), fits a ranker and judges both. Half of the shoppers get the
    new model first, and all of them if they buy more.
    """
    from streams.simulator.demo import Demo
    from streams.simulator.stages import metrics_address

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        at = metrics_address(metrics) if metrics is not None else None
        demo = Demo(out, items, shoppers or (800 if learn else 400), seed, learn=learn, show=show, metrics=at)
        await demo.run(float("inf") if keep else seconds or (720.0 if learn else 50.0), stop)

    asyncio.run(main())
