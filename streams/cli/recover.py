"""``veilstream recover``: opens dead letters with the recovery key, repairs those that a stage signed, and replays them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.completing import offering, reasons
from streams.cli.progress import Progress
from streams.cli.watch import plain
from streams.visible_text import visible

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer
    from nacl.signing import VerifyKey

    from streams.dead_letters.recovery import Letter, Mended
    from streams.dead_letters.signatures import Origin
    from streams.privacy.key_types import KeyFolder
    from streams.settings import KafkaSettings, Settings


_COUNTED = ("listed", "replayed", "replayed unsigned", "not replayed")
_TOLD = ("source_topic", "source_partition", "source_offset", "stage", "reason", "detail", "redacted_fields")
"""Of a letter; nothing of the original is in them."""


@dataclass(frozen=True)
class _Choice:
    """The options of the command."""

    key_file: Path | None
    reasons: frozenset[str]
    edits: Mapping[str, str]
    replay: bool
    show: bool
    accept_unsigned: bool
    maximum: int | None
    as_json: bool


@click.command(name="recover")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="Recovery key. Default: recovery.key in VEILSTREAM_KEYS_DIR.")
@click.option("--reason", multiple=True, shell_complete=offering(reasons), help="Only dead letters with this reason (repeatable).")
@click.option(
    "--set", "--edit", "edits", multiple=True, metavar="FIELD=VALUE", help="Set a field of the original; JSON or text (repeatable)."
)
@click.option("--replay", is_flag=True, help="Publish the originals back to the topics they came from. Without it they are only listed.")
@click.option("--show", is_flag=True, help="Print the originals with all their fields, including raw user ids.")
@click.option(
    "--accept-unsigned",
    is_flag=True,
    help="Replay letters without a signature too: those from before letters were signed, or what somebody has forged.",
)
@click.option("--max", "maximum", type=click.IntRange(1), help="Stop after this many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per letter, and one at the end.")
def command(**options: Any) -> int:
    """List the dead letters so far and, with --replay, publish their repaired originals again.

    Only letters that a stage has signed are replayed, and only to the topics that producers write: the public keys of the stages
    (ingest.pub, catalogue.pub) must be in VEILSTREAM_KEYS_DIR. Nothing of an original is printed without --show. An event without
    an id gets one from its position, so that replaying it twice applies it once. The exit code is 1 if one of the selected records
    could not be replayed.
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
        accept_unsigned=options["accept_unsigned"],
        maximum=options["maximum"],
        as_json=options["as_json"],
    )
    if choice.replay and choice.accept_unsigned:
        click.echo(
            "warning: letters without a signature are replayed too. Whoever may write to the dead letters' topic and has "
            "recovery.pub can have made them; look at them first with --show",
            err=True,
        )
    counts = _told(choice)
    if choice.as_json:
        click.echo(json.dumps({name.replace(" ", "_"): counts[name] for name in _COUNTED}))
        return 1 if counts["not replayed"] else 0
    click.echo(", ".join(f"{counts[name]} {name}" for name in _COUNTED if counts[name] or name == "listed"))
    return 1 if counts["not replayed"] else 0


def _told(choice: _Choice) -> Counter[str]:
    """Opening letters and replaying them is told to the audit; listing them opens nothing."""
    from streams.audit.actions import recovery_details
    from streams.cli.audited import audited
    from streams.settings import load_kafka_settings, load_settings

    settings, kafka = load_settings(), load_kafka_settings()
    opener = _Opener(choice, settings)
    if not (choice.replay or choice.show):
        return asyncio.run(_recover(choice, opener, settings, kafka))
    with audited("recover", settings, kafka) as audit:
        asked = recovery_details(choice.reasons, choice.edits, accept_unsigned=choice.accept_unsigned, shown=choice.show)
        audit.tell("replaying" if choice.replay else "opening", details=asked)
        counts = asyncio.run(_recover(choice, opener, settings, kafka))
        audit.note("replayed" if choice.replay else "opened", {name: str(count) for name, count in sorted(counts.items())})
    return counts


class _Opener:
    """What a letter holds, mended, and whether it may be replayed."""

    def __init__(self, choice: _Choice, settings: Settings) -> None:
        """Raises ConfigurationError if a key that is needed is missing or wrong, or a setting is."""
        from streams.dead_letters.signatures import replayable
        from streams.privacy.key_folder import key_folder
        from streams.privacy.keys import load_private_keys
        from streams.serde.codec import open_codecs
        from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS, item_topics, raw_topics

        own_raw, own_items = raw_topics(settings.source_topics), item_topics(settings.items_source_topics)
        defaults = ((BEHAVIOUR_RAW, settings.source), (CATALOGUE_ITEMS, settings.items_source))
        self._mapped = {*own_raw, *own_items, *(topic for topic, source in defaults if source is not None)}
        self._stages = replayable(own_raw, own_items)
        self._choice, self._prefix = choice, settings.topic_prefix
        opens = choice.replay or choice.show
        self._key = load_private_keys(choice.key_file or key_folder(settings) / "recovery.key", "recovery") if opens else None
        self._verify_keys = _verify_keys(key_folder(settings))
        self.codecs = open_codecs(settings)

    def origin(self, letter: Letter) -> Origin:
        from streams.dead_letters.signatures import origin

        return origin(letter.fields, letter.value, letter.headers, self._verify_keys)

    def mended(self, letter: Letter) -> Mended | None:
        """None if nothing is to be opened. Raises RecordError if it can't be repaired."""
        from streams.dead_letters.recovery import mended, opened

        if self._key is None:
            return None
        original = opened(self._key, letter.fields)
        return mended(original, letter.fields, self._choice.edits, self.codecs, self._prefix, mapped=self._mapped)

    def refusal(self, letter: Letter, origin: Origin) -> str | None:
        from streams.dead_letters.signatures import why_not_replayed

        return why_not_replayed(letter.fields, origin, self._stages, self._prefix, accept_unsigned=self._choice.accept_unsigned)


async def _recover(choice: _Choice, opener: _Opener, settings: Settings, kafka: KafkaSettings) -> Counter[str]:
    from aiokafka import AIOKafkaProducer

    from streams.dead_letters.recovery import letters_so_far
    from streams.errors import RecordError
    from streams.kafka.clients import client_config, quiet_client_loggers, reader
    from streams.topics import DEAD_LETTER

    quiet_client_loggers()
    counts: Counter[str] = Counter()
    async with reader(kafka, settings.topic_prefix + DEAD_LETTER) as consumer:
        producer = AIOKafkaProducer(**client_config(kafka), acks="all", enable_idempotence=settings.idempotent_producer)
        try:
            if choice.replay:
                await producer.start()
            with Progress("dead letters", prints=True) as progress:
                async for letter in letters_so_far(consumer, opener.codecs, progress.tell):
                    if isinstance(letter, RecordError):
                        click.echo(f"a record that is not a dead letter: {letter}", err=True)
                        continue
                    if choice.reasons and letter.fields["reason"] not in choice.reasons:
                        continue
                    await _handle(letter, opener, choice, producer, counts)
                    if counts["listed"] == choice.maximum:
                        break
        finally:
            await producer.stop()
    return counts


async def _handle(letter: Letter, opener: _Opener, choice: _Choice, producer: AIOKafkaProducer, counts: Counter[str]) -> None:
    """Lists one letter, shows it and replays it, as was chosen."""
    from streams.dead_letters.signatures import Origin

    origin = opener.origin(letter)
    counts["listed"] += 1
    if not choice.as_json:
        click.echo(describe(letter.fields) + ("" if origin is Origin.SIGNED else f" ({origin})"))
    original, why = await _done_with(letter, origin, opener, choice, producer, counts)
    if choice.as_json:
        told = {name: letter.fields[name] for name in _TOLD}
        found = {**told, "origin": str(origin), "replayed": choice.replay and why is None, "problem": why}
        click.echo(json.dumps(found | ({"original": original} if choice.show else {})))


async def _done_with(
    letter: Letter, origin: Origin, opener: _Opener, choice: _Choice, producer: AIOKafkaProducer, counts: Counter[str]
) -> tuple[Any, str | None]:
    """The original, where it was to be shown, and why it could not be repaired or replayed."""
    from streams.dead_letters.signatures import Origin
    from streams.errors import RecordError
    from streams.kafka.clients import naming_rights

    def tell(text: str, *, err: bool = True) -> None:
        if not choice.as_json:
            click.echo(f"  {text}", err=err)

    try:
        record = await asyncio.to_thread(opener.mended, letter)
    except RecordError as error:
        counts["not replayed"] += choice.replay
        tell(f"can't be repaired: {error}")
        return None, f"can't be repaired: {error}"
    if record is None:
        return None, None
    original = (plain("", record.fields) if record.fields else record.value.decode("utf-8", "replace")) if choice.show else None
    if choice.show:
        tell(visible(json.dumps(original, ensure_ascii=False) if record.fields else str(original)), err=False)
    if not choice.replay:
        return original, None
    refusal = opener.refusal(letter, origin)
    if refusal is not None:
        counts["not replayed"] += 1
        tell(f"not replayed: {refusal}")
        return original, refusal
    with naming_rights("Write", record.topic):
        await producer.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(record.headers) or None)
    counts["replayed" if origin is Origin.SIGNED else "replayed unsigned"] += 1
    return original, None


def _verify_keys(folder: KeyFolder) -> dict[str, VerifyKey]:
    """The public keys of the stages that are there. Raises ConfigurationError for one that can't be used."""
    from streams.privacy.keys import STAGES, load_stage_verify_key

    paths = {stage: folder / f"{stage}.pub" for stage in STAGES}
    return {stage: load_stage_verify_key(path, stage) for stage, path in paths.items() if path.exists()}


def describe(letter: Mapping[str, Any]) -> str:
    """One line for a dead letter. It holds no data of the original."""
    where = f"{letter['source_topic']}/{letter['source_partition']}/{letter['source_offset']}"
    fields = f" [{', '.join(letter['redacted_fields'])}]" if letter["redacted_fields"] else ""
    return visible(f"{where} {letter['stage']} {letter['reason']}: {letter['detail']}{fields}")
