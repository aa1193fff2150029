"""``veilstream watch``: shows the records of a topic as readable lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from streams.cli.completing import offering, topics
from streams.visible_text import visible


@click.command(name="watch")
@click.argument("topic", shell_complete=offering(topics))
@click.option("--from-beginning", is_flag=True, help="Start with the oldest record. Default: only new records.")
@click.option("--max", "maximum", type=click.IntRange(1), help="Stop after this many records.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--raw-identities", is_flag=True, help="Allow the topics whose values hold raw user ids.")
def command(topic: str, from_beginning: bool, maximum: int | None, as_json: bool, raw_identities: bool) -> None:
    """Show the records of TOPIC as they come, until interrupted.

    Sealed ids and vectors are shown by their length. The three topics with raw user ids are refused without
    --raw-identities.
    """
    from streams.topics import BY_NAME

    if topic not in BY_NAME:
        raise click.UsageError(f"there is no topic {topic}; choose from: {', '.join(BY_NAME)}")
    if BY_NAME[topic].raw_identity and not raw_identities:
        raise click.UsageError(f"{topic} holds raw user ids; add --raw-identities if you may see them")
    asyncio.run(_watch(topic, from_beginning, maximum, as_json))


async def _watch(topic: str, from_beginning: bool, maximum: int | None, as_json: bool) -> None:
    from streams.errors import RecordError
    from streams.kafka.clients import quiet_client_loggers, reader
    from streams.serde.codec import open_codec
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    codec = await open_codec(topic, settings)
    async with reader(kafka, settings.topic_prefix + topic) as consumer:
        partitions = consumer.assignment()
        await (consumer.seek_to_beginning(*partitions) if from_beginning else consumer.seek_to_end(*partitions))
        shown = 0
        async for record in consumer:
            await codec.prepare(record.value)
            try:
                value = codec.decode(record.value, record.headers) if record.value is not None else None
            except RecordError as error:
                value = {"undecodable": str(error)}
            click.echo(line(record.timestamp, record.partition, record.offset, value, as_json=as_json))
            shown += 1
            if maximum is not None and shown >= maximum:
                return


def line(timestamp_ms: int, partition: int, offset: int, value: Mapping[str, Any] | None, *, as_json: bool) -> str:
    """One record as a line."""
    shown = None if value is None else {name: plain(name, field) for name, field in value.items()}
    if as_json:
        record = {"partition": partition, "offset": offset, "timestamp": timestamp_ms, "value": shown}
        return visible(json.dumps(record, ensure_ascii=False))
    where = f"{moment(timestamp_ms)} {partition}/{offset}"
    if shown is None:
        return f"{where} removed"
    fields = (f"{name}={json.dumps(field, ensure_ascii=False)}" for name, field in shown.items() if field not in (None, [], {}))
    return visible(f"{where} {' '.join(fields)}")


def moment(timestamp_ms: int) -> str:
    """A producer's timestamp, which may be any number."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError, OSError):
        return f"{timestamp_ms}ms"


def plain(name: str, value: Any) -> Any:
    """A value for display: bytes by their length, floats rounded to four digits, the rest unchanged."""
    if isinstance(value, bytes):
        return f"<{'sealed ' if name.startswith('sealed') else ''}{len(value)} bytes>"
    if isinstance(value, dict):
        return {key: plain(key, field) for key, field in value.items()}
    if isinstance(value, list):
        return [plain(name, element) for element in value]
    return round(value, 4) if isinstance(value, float) else value
