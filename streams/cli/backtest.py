"""``veilstream backtest``: recommend from files, without a broker."""

from __future__ import annotations

import csv
from pathlib import Path

import click

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="backtest")
@click.option("--items", required=True, type=_FILE, help="CSV or CSV.gz, as for replay.")
@click.option("--events", required=True, type=_FILE, help="CSV or CSV.gz, as for replay.")
@click.option("--cutoff", required=True, help="Learn from events before this time (ISO 8601, UTC, or epoch seconds).")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1, 1000), help="Items for each user.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV to write: user,rank,item,score.")
@click.option("--include-seen", is_flag=True, help="Recommend also what the user had to do with before.")
def command(items: Path, events: Path, cutoff: str, top: int, out: Path, include_seen: bool) -> None:
    """Run the stages' own code over files: learn from the events before the cutoff, and write the best items of every user that
    has one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from encoders import load_encoder
    from encoders.serving.micro_batcher import MicroBatcher
    from streams.admin.csv_files import ReadReport, read_events, read_items
    from streams.backtest.history import EventsBefore
    from streams.backtest.runner import Backtest
    from streams.errors import ConfigurationError, RecordError
    from streams.ingest.times import to_milliseconds
    from streams.settings import load_settings
    from streams.wire.codec import local_codecs

    try:
        cutoff_ms = to_milliseconds(cutoff)
    except RecordError as error:
        raise click.UsageError(f"--cutoff: {error.detail}") from None
    settings = load_settings()
    report = ReadReport()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        before = EventsBefore(read_events(events, report), cutoff_ms)
        if not before.users:
            raise ConfigurationError(f"{events} has no event before {cutoff}")
        encoder = MicroBatcher(
            load_encoder(settings.model, device=settings.device, precision=settings.precision, token_budget=settings.encoder_token_budget)
        )
        backtest = Backtest(settings, local_codecs(), encoder, cutoff_ms)
        task = progress.add_task("items encoded", total=None)
        count = backtest.load_items(read_items(items, report), lambda n, t=task: progress.advance(t, n))  # type: ignore[misc]
        progress.update(task, total=count, completed=count)
        task = progress.add_task("events learned", total=len(before.events))
        backtest.learn(before.events, lambda n, t=task: progress.advance(t, n))  # type: ignore[misc]
        task = progress.add_task("users served", total=len(before.users))
        rows = backtest.recommend(
            before.users,
            {} if include_seen else before.seen,
            top,
            lambda n, t=task: progress.advance(t, n),  # type: ignore[misc]
        )
        _write(out, rows)
    click.echo(f"wrote {out}: {len(before.users)} users, {count} items, {len(before.events)} events before the cutoff")
    for reason, number in sorted((report.broken | backtest.rejected).items()):
        click.echo(f"left out {number}: {reason}", err=True)


def _write(out: Path, rows: object) -> None:
    """Complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("user", "rank", "item", "score"))
        for user, rank, item, score in rows:  # type: ignore[attr-defined]
            writer.writerow((user, rank, item, f"{score:.6f}"))
    part.replace(out)
