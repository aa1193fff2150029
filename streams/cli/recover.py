"""``veilstream recover``: opens dead letters with the recovery key, repairs and replays them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from streams.cli.watch import plain
from streams.visible_text import visible


@dataclass(frozen=True)
class _Choice:
    """The options of the command."""

    key_file: Path | None
    reasons: frozenset[str]
    edits: Mapping[str, str]
    replay: bool
    show: bool
    maximum: int | None


@click.command(name="recover")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="Recovery key. Default: recovery.key in VEILSTREAM_KEYS_DIR.")
@click.option("--reason", multiple=True, help="Only dead letters with this reason (repeatable).")
@click.option(
    "--set", "--edit", "edits", multiple=True, metavar="FIELD=VALUE", help="Set a field of the original; JSON or text (repeatable)."
)
@click.option("--replay", is_flag=True, help="Publish the originals back to the topics they came from. Without it they are only listed.")
@click.option("--show", is_flag=True, help="Print the originals with all their fields, including raw user ids.")
@click.option("--max", "maximum", type=click.IntRange(1), help="Stop after this many.")
def command(**options: Any) -> int:
    """List the dead letters so far and, with --replay, publish their repaired originals again.

    Nothing of an original is printed without --show. An event without an id gets one from its position, so that replaying
    it twice applies it once. The exit code is 1 if one of the selected records could not be replayed.
    """
    from streams.errors import Reason

    unknown = sorted(set(options["reason"]) - {reason.value for reason in Reason})
    if unknown:
        raise click.UsageError(f"unknown reason {', '.join(unknown)}; choose from: {', '.join(Reason)}")
    edits: dict[str, str] = {}
    for change in options["edits"]:
        name, separator, text = change.partition("=")
        if not separator or not name.strip():
            raise click.UsageError("--set needs FIELD=VALUE")
        edits[name.strip()] = text
    choice = _Choice(
        key_file=options["key"],
        reasons=frozenset(options["reason"]),
        edits=edits,
        replay=options["replay"],
        show=options["show"],
        maximum=options["maximum"],
    )
    counts = asyncio.run(_recover(choice))
    click.echo(", ".join(f"{counts[name]} {name}" for name in ("listed", "replayed", "not replayed") if counts[name] or name == "listed"))
    return 1 if counts["not replayed"] else 0


async def _recover(choice: _Choice) -> Counter[str]:
    from aiokafka import AIOKafkaProducer

    from streams.dead_letters.recovery import letters_so_far, mended, opened
    from streams.errors import RecordError
    from streams.kafka.clients import client_config, quiet_client_loggers, reader
    from streams.privacy.keys import load_private_key
    from streams.serde.codec import open_codecs
    from streams.settings import load_kafka_settings, load_settings
    from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS, DEAD_LETTER, item_topics, raw_topics

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    mapped = {*raw_topics(settings.source_topics), *item_topics(settings.items_source_topics)}
    mapped |= {
        topic for topic, source in ((BEHAVIOUR_RAW, settings.source), (CATALOGUE_ITEMS, settings.items_source)) if source is not None
    }
    opens = choice.replay or choice.show
    key = load_private_key(choice.key_file or settings.keys_dir / "recovery.key", "recovery") if opens else None
    codecs = open_codecs(settings)
    counts: Counter[str] = Counter()
    async with reader(kafka, settings.topic_prefix + DEAD_LETTER) as consumer:
        producer = AIOKafkaProducer(**client_config(kafka), acks="all", enable_idempotence=settings.idempotent_producer)
        try:
            if choice.replay:
                await producer.start()
            async for letter in letters_so_far(consumer, codecs):
                if isinstance(letter, RecordError):
                    click.echo(f"a record that is not a dead letter: {letter}", err=True)
                    continue
                if choice.reasons and letter["reason"] not in choice.reasons:
                    continue
                counts["listed"] += 1
                click.echo(describe(letter))
                if key is not None:
                    try:
                        record = await asyncio.to_thread(
                            mended,
                            opened(key, letter),
                            letter,
                            choice.edits,
                            codecs,
                            settings.topic_prefix,
                            mapped=mapped,
                        )
                    except RecordError as error:
                        counts["not replayed"] += choice.replay
                        click.echo(f"  can't be repaired: {error}", err=True)
                    else:
                        if choice.show:
                            shown = (
                                json.dumps(plain("", record.fields), ensure_ascii=False)
                                if record.fields
                                else record.value.decode("utf-8", "replace")
                            )
                            click.echo(f"  {visible(shown)}")
                        if choice.replay:
                            await producer.send_and_wait(
                                record.topic,
                                value=record.value,
                                key=record.key,
                                partition=record.partition,
                                headers=list(record.headers) or None,
                            )
                            counts["replayed"] += 1
                if counts["listed"] == choice.maximum:
                    break
        finally:
            await producer.stop()
    return counts


def describe(letter: Mapping[str, Any]) -> str:
    """One line for a dead letter. It holds no data of the original."""
    where = f"{letter['source_topic']}/{letter['source_partition']}/{letter['source_offset']}"
    fields = f" [{', '.join(letter['redacted_fields'])}]" if letter["redacted_fields"] else ""
    return visible(f"{where} {letter['stage']} {letter['reason']}: {letter['detail']}{fields}")
