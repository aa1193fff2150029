"""``veilstream replay``: publish files to the topics that producers write."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FLUSH = 1000


@click.command(name="replay")
@click.option("--items", type=_FILE, help="CSV or CSV.gz: item,title[,description,category,brand,price,...].")
@click.option("--events", type=_FILE, help="CSV or CSV.gz: ts,user,event_type,item[,query,qty,price,event_id,...].")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events per second.")
@click.option("--as-fast-as-possible", is_flag=True, help="The default where --rate is not given.")
def command(items: Path | None, events: Path | None, rate: float | None, as_fast_as_possible: bool) -> None:
    """Publish items and events from CSV files, in Avro, events of a user in order.

    Unknown columns are ignored; unknown event types are published and come back as dead letters; rows that can't be read are
    counted and left out. An event without an id gets one from its line, so that the same file twice applies once.
    """
    if items is None and events is None:
        raise click.UsageError("give --items, --events or both")
    if rate is not None and as_fast_as_possible:
        raise click.UsageError("--rate and --as-fast-as-possible exclude each other")
    asyncio.run(_replay(items, events, rate))


async def _replay(items: Path | None, events: Path | None, rate: float | None) -> None:
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaError
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from streams import topics
    from streams.admin.csv_files import ReadReport, read_events, read_items
    from streams.admin.kafka_client import client_config, need_topic, no_broker, quiet_client_loggers
    from streams.errors import ConfigurationError
    from streams.settings import load_kafka_settings, load_settings
    from streams.wire.codec import open_codecs

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    codecs = open_codecs(settings.registry_url, topic_prefix=settings.topic_prefix)
    report = ReadReport()
    producer = AIOKafkaProducer(
        **client_config(kafka), acks="all", linger_ms=20, max_batch_size=262_144, enable_idempotence=settings.idempotent_producer
    )
    try:
        await producer.start()
    except (KafkaError, OSError) as error:
        await producer.stop()
        raise no_broker(kafka, error) from error
    sent = {"items": 0, "events": 0}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            for kind, path, topic, read in (
                ("items", items, topics.CATALOGUE_ITEMS, read_items),
                ("events", events, topics.BEHAVIOUR_RAW, read_events),
            ):
                if path is None:
                    continue
                full_name = settings.topic_prefix + topic
                await need_topic(kafka, full_name)
                codec = codecs.for_topic(topic)
                task = progress.add_task(kind, total=None)
                pending: list[asyncio.Future[Any]] = []
                begin = time.monotonic()
                for value in read(path, report):
                    key = (value["item_id"] if kind == "items" else value["user_id"]).strip().encode()
                    try:
                        encoded = codec.encode(value)
                    except (ValueError, TypeError):
                        report.count("a row does not fit the schema")
                        continue
                    pending.append(await producer.send(full_name, value=encoded, key=key))
                    sent[kind] += 1
                    if rate is not None and kind == "events":
                        ahead = sent[kind] / rate - (time.monotonic() - begin)
                        if ahead > 0.005:
                            await asyncio.sleep(ahead)
                    if len(pending) >= _FLUSH:
                        await asyncio.gather(*pending)
                        pending.clear()
                        progress.update(task, completed=sent[kind])
                await asyncio.gather(*pending)
    except KafkaError as error:
        raise ConfigurationError(f"publishing failed: {type(error).__name__}") from error
    finally:
        await producer.stop()
    click.echo(f"published {sent['items']} items and {sent['events']} events")
    for reason, count in sorted(report.broken.items()):
        click.echo(f"left out {count} rows: {reason}", err=True)
