"""``veilstream replay``: publishes files to the topics of the producers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.progress import Progress

if TYPE_CHECKING:
    from streams.producers.publisher import Kind, Published

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="replay")
@click.option("--items", type=_FILE, help="CSV or CSV.gz: item,title[,description,category,brand,price,...].")
@click.option("--events", type=_FILE, help="CSV or CSV.gz: ts,user,event_type,item[,query,qty,price,event_id,...].")
@click.option("--consents", type=_FILE, help="CSV or CSV.gz: ts,user[,anonymous_id,policy_version,source], and a column for each purpose.")
@click.option("--source", metavar="PRESET|FILE", help="How the events are written: see `veilstream sources list`, or a mapping of yours.")
@click.option("--items-source", metavar="PRESET|FILE", help="How the items are written: a preset of items, or a mapping of yours.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events per second.")
@click.option("--as-fast-as-possible", is_flag=True, help="The default if --rate is not given.")
def command(
    items: Path | None,
    events: Path | None,
    consents: Path | None,
    source: str | None,
    items_source: str | None,
    rate: float | None,
    as_fast_as_possible: bool,
) -> None:
    """Publish items, decisions on consent, and events from CSV files, in Avro, events of a user in order. With --source and --items-source
    they may be in any form that a mapping describes, in JSON and XML too.

    Unknown columns are ignored. Unknown event types are published and become dead letters. Rows that can't be read are
    counted and left out. An event without an id gets one from its row. So publishing the same file twice applies it once.
    """
    if items is None and events is None and consents is None:
        raise click.UsageError("give --items, --consents, --events or several of them")
    if rate is not None and as_fast_as_possible:
        raise click.UsageError("--rate and --as-fast-as-possible exclude each other")
    if items_source is not None and items is None:
        raise click.UsageError("--items-source says how --items are written; give both")
    asyncio.run(_replay({"items": items, "consents": consents, "events": events}, source, items_source, rate))


async def _replay(files: dict[Kind, Path | None], source: str | None, items_source: str | None, rate: float | None) -> None:
    from streams.kafka.clients import quiet_client_loggers
    from streams.producers.csv_files import ReadReport
    from streams.producers.publisher import Published, publish
    from streams.settings import load_kafka_settings, load_settings
    from streams.sources.loading import find_item_mapping, find_mapping

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    mapping = find_mapping(source, settings.sources_dir) if source is not None else None
    items_mapping = find_item_mapping(items_source, settings.sources_dir) if items_source is not None else None
    report, published = ReadReport(), Published()
    try:
        for kind, path in files.items():
            if path is None:
                continue
            size = path.stat().st_size
            with Progress(kind) as progress:

                def show(kind: str = kind, progress: Progress = progress, size: int = size) -> None:
                    progress.tell(report.bytes_read, size, f"{getattr(published, kind):,} published")

                await publish(
                    kind,
                    path,
                    settings=settings,
                    kafka=kafka,
                    rate=rate,
                    report=report,
                    published=published,
                    show=show,
                    mapping=mapping,
                    items_mapping=items_mapping,
                )
    finally:
        _summary(published, report.lines(), click.echo)


def _summary(published: Published, left_out: list[str], say: Callable[..., None]) -> None:
    """Print what was acknowledged and what was left out, also if the replay was interrupted."""
    decisions = f", {published.consents} decisions on consent" if published.consents else ""
    say(f"published {published.items} items and {published.events} events{decisions}")
    for line in left_out:
        say(line, err=True)
