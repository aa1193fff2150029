"""Reads dead letters back and repairs the originals, so that they can be replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer

from streams.dead_letters.letters import Original, open_original
from streams.errors import ConfigurationError, Reason, RecordError
from streams.kafka.topic_records import Shows, records_so_far
from streams.privacy.seal import PrivateKeys
from streams.serde.codec import Codec, Codecs, json_object
from streams.serde.json_values import accepts
from streams.sources.envelope import EVENT_ID_HEADER, TIME_HEADER, envelope, says_json
from streams.sources.sources import PLAIN
from streams.topics import BEHAVIOUR_RAW, BY_NAME, CATALOGUE_ITEMS, DEAD_LETTER


class Letter(NamedTuple):
    """A dead letter, decoded and as its record has it: the signature is over ``value``."""

    fields: dict[str, Any]
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]


class Mended(NamedTuple):
    """What to publish, or, of a record that only the product writes, to show."""

    topic: str
    key: bytes | None
    value: bytes
    fields: dict[str, Any]
    """Empty for a record of a source with a mapping, which is published as it was."""
    headers: tuple[tuple[str, bytes | None], ...] = ()


async def letters_so_far(consumer: AIOKafkaConsumer, codecs: Codecs, show: Shows) -> AsyncIterator[Letter | RecordError]:
    """Every dead letter up to the current end, of all assigned partitions of the consumer. A record that is not a dead letter is given
    as a RecordError. ``show``: see ``records_so_far``. Raises BrokerUnavailable if the broker stops answering.
    """
    codec = await asyncio.to_thread(codecs.for_topic, DEAD_LETTER)
    async for record in records_so_far(consumer, DEAD_LETTER, exactly=True, show=show):
        await codec.prepare(record.value)
        try:
            letter = Letter(codec.decode(record.value), record.value or b"", tuple(record.headers))
        except RecordError as error:
            yield error
        else:
            yield letter


def opened(key: PrivateKeys, letter: Mapping[str, Any]) -> Original:
    """The original in a letter. Raises RecordError if it has none, or it was sealed to another key."""
    if letter["sealed_original"] is None:
        raise RecordError(Reason.TOO_LARGE, "the original was too large to be kept")
    try:
        return open_original(key, letter["sealed_original"])
    except ConfigurationError as error:
        raise RecordError(Reason.UNDECODABLE, f"{error}; give the key of that time with --key") from None


def mended(
    original: Original,
    letter: Mapping[str, Any],
    edits: Mapping[str, str],
    codecs: Codecs,
    topic_prefix: str,
    *,
    mapped: Collection[str] = (),
) -> Mended:
    """The record to publish; ``mapped`` are the topics, without prefix, whose records are read by a mapping though no header says so.

    Raises RecordError if the original can't be decoded, or the edits do not fit.

    An event without an id gets one from its position. An event without a time gets the time of its first arrival. So it is the same
    event, however often it is replayed.
    """
    topic = str(letter["source_topic"]).removeprefix(topic_prefix)
    if topic not in BY_NAME and topic not in mapped:
        raise RecordError(Reason.WRONG_SCHEMA, "it comes from no topic of this product; is VEILSTREAM_TOPIC_PREFIX right?")
    if original.value and (topic in mapped or (topic in (BEHAVIOUR_RAW, CATALOGUE_ITEMS) and is_foreign(original, topic))):
        if edits:
            raise RecordError(
                Reason.WRONG_SCHEMA, "a record that a mapping reads has no such fields; mend the mapping, and replay as it was"
            )
        kept = tuple((name, value) for name, value in original.headers if name not in (EVENT_ID_HEADER, TIME_HEADER))
        replayed = (
            (EVENT_ID_HEADER, f"recovered-{letter['dead_letter_id']}".encode()),
            (TIME_HEADER, str(letter["source_timestamp"]).encode()),
        )
        return Mended(letter["source_topic"], original.key, original.value, {}, (*kept, *replayed))
    if topic not in BY_NAME:
        raise RecordError(Reason.EMPTY, "the value is empty")
    codec = codecs.for_topic(topic)
    changes = {name: edit(codec, name, text) for name, text in edits.items()}
    fields = _with_changes(codec, original, changes)
    if topic == BEHAVIOUR_RAW:
        if not (fields["event_id"] or "").strip():
            fields["event_id"] = f"recovered-{letter['dead_letter_id']}"
        if fields["occurred_at"] is None and letter["source_timestamp"] >= 0:
            fields["occurred_at"] = letter["source_timestamp"]
    try:
        value = codec.encode(fields)
    except (ValueError, TypeError) as error:
        raise RecordError(Reason.WRONG_SCHEMA, f"the edited value does not fit the schema ({type(error).__name__})") from None
    key = fields["item_id"].strip().encode() if topic == CATALOGUE_ITEMS else original.key
    return Mended(letter["source_topic"], key, value, fields)


def is_foreign(original: Original, topic: str = BEHAVIOUR_RAW) -> bool:
    """Whether a record is not one event or item in the product's own form: of a source with a mapping, a CloudEvent, several events."""
    found = envelope(original.headers)
    if found.source not in (None, "", PLAIN) or (found.attributes is not None and topic == BEHAVIOUR_RAW):
        return True
    if topic != BEHAVIOUR_RAW:
        return False
    return says_json(found.content_type) and (found.content_type != "application/json" or (original.value or b"").lstrip()[:1] == b"[")


def edit(codec: Codec, name: str, text: str) -> Any:
    """An edit's text as the field's type: JSON where that fits (2, null, ["a"]), else the text as it stands."""
    if name not in codec.kinds:
        raise RecordError(Reason.WRONG_SCHEMA, f"{codec.topic} has no field {name}; it has {', '.join(codec.kinds)}")
    fits = accepts(codec.kinds[name])
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if fits(value):
        return value
    if fits(text):
        return text
    raise RecordError(Reason.WRONG_SCHEMA, f"the edit of {name} does not fit its type")


def _with_changes(codec: Codec, original: Original, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes go into JSON before it is held against the schema: a missing or wrong field may be what is mended."""
    if original.value and changes and codec.is_json(original.headers):
        return codec.from_json({**json_object(original.value), **changes})
    return {**codec.decode(original.value, original.headers), **changes}
