"""``veilstream demo``: everything, against a simulated shop, on the embedded broker."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click


@click.command(name="demo")
@click.option("--keep", is_flag=True, help="Go on until stopped.")
@click.option("--seconds", default=50.0, show_default=True, type=click.FloatRange(5, 600), help="How long the shop is open.")
@click.option("--items", default=2500, show_default=True, type=click.IntRange(100, 40_000), help="Items in the catalogue.")
@click.option("--shoppers", default=400, show_default=True, type=click.IntRange(10, 100_000), help="Simulated shoppers.")
@click.option("--seed", default=1, show_default=True, help="Of everything that is random in the shop.")
@click.option("--out", default=Path("var/demo"), show_default=True, type=click.Path(path_type=Path, file_okay=False), help="Where to.")
def command(keep: bool, seconds: float, items: int, shoppers: int, seed: int, out: Path) -> None:
    """Start a broker and every stage, let simulated shoppers search, view, buy and react to what is recommended, show it as it
    happens, and compare those who see recommendations with a control group who does not.

    Ends by itself within three minutes and writes summary.json; --keep goes on until stopped.
    """
    from streams.simulator.demo import Demo

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await Demo(out, items, shoppers, seed).run(float("inf") if keep else seconds, stop)

    asyncio.run(main())
