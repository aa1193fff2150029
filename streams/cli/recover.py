"""``veilstream recover``: dead letters, opened with the recovery key, mended and replayed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

_IDLE_MS = 1500


@click.command(name="recover")
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path, dir_okay=False), help="Recovery key. Default: recovery.key in VEILSTREAM_KEYS_DIR."
)
@click.option("--reason", "reasons", multiple=True, help="Only dead letters with this reason (repeatable).")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Set a field before replaying; VALUE is JSON, else text (repeatable)."
)
@click.option("--replay", is_flag=True, help="Publish the originals back to the topics they came from. Without it they are only listed.")
@click.option("--show", is_flag=True, help="Print the originals, with everything they hold.")
@click.option("--max", "maximum", type=click.IntRange(1), help="Stop after this many.")
def command(
    key_file: Path | None, reasons: tuple[str, ...], changes: tuple[str, ...], replay: bool, show: bool, maximum: int | None
) -> None:
    """List the dead letters so far and, with --replay, put their mended originals back.

    An original without an event id gets one from its position, so that replaying it twice applies it once.
    """
    edits: dict[str, Any] = {}
    for change in changes:
        name, separator, text = change.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--set needs FIELD=VALUE, not {change!r}")
        try:
            edits[name] = json.loads(text)
        except ValueError:
            edits[name] = text
    asyncio.run(_recover(key_file, set(reasons), edits, replay, show, maximum))


async def _recover(key_file: Path | None, reasons: set[str], edits: dict[str, Any], replay: bool, show: bool, maximum: int | None) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.errors import KafkaError
    from aiokafka.structs import TopicPartition

    from streams.admin.kafka_client import client_config, need_topic, no_broker, quiet_client_loggers
    from streams.admin.recovery import mended
    from streams.dead_letters import open_original
    from streams.errors import RecordError
    from streams.privacy.keys import load_private_key
    from streams.settings import load_kafka_settings, load_settings
    from streams.topics import DEAD_LETTER
    from streams.wire.codec import open_codecs

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    key = load_private_key(key_file or settings.keys_dir / "recovery.key", "recovery")
    codecs = open_codecs(settings.registry_url, topic_prefix=settings.topic_prefix)
    full_name = settings.topic_prefix + DEAD_LETTER
    partitions = await need_topic(kafka, full_name)
    consumer = AIOKafkaConsumer(**client_config(kafka), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(**client_config(kafka), acks="all", enable_idempotence=settings.idempotent_producer)
    try:
        await consumer.start()
        if replay:
            await producer.start()
    except (KafkaError, OSError) as error:
        await consumer.stop()
        await producer.stop()
        raise no_broker(kafka, error) from error
    counts = {"listed": 0, "replayed": 0, "not sealed": 0, "not mendable": 0}
    try:
        tps = [TopicPartition(full_name, p) for p in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=_IDLE_MS)).values():
                for record in records:
                    letter = codecs.for_topic(DEAD_LETTER).decode(record.value)
                    if (reasons and letter["reason"] not in reasons) or (maximum is not None and counts["listed"] >= maximum):
                        continue
                    counts["listed"] += 1
                    where = f"{letter['source_topic']}/{letter['source_partition']}/{letter['source_offset']}"
                    click.echo(f"{where} {letter['reason']}: {letter['detail']}")
                    if letter["sealed_original"] is None:
                        counts["not sealed"] += 1
                        continue
                    if not (replay or show):
                        continue
                    original = open_original(key, letter["sealed_original"])
                    try:
                        value, shown = mended(original, letter, edits, codecs, settings.topic_prefix)
                    except RecordError as error:
                        counts["not mendable"] += 1
                        click.echo(f"  can't be mended: {error}", err=True)
                        continue
                    if show:
                        click.echo(f"  {json.dumps(shown, ensure_ascii=False, default=repr)}")
                    if replay:
                        await producer.send_and_wait(letter["source_topic"], value=value, key=original.key)
                        counts["replayed"] += 1
    finally:
        await consumer.stop()
        await producer.stop()
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "listed"))
