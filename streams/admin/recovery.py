"""Mends the original of a dead letter so that it can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.dead_letters import Original
from streams.errors import Reason, RecordError
from streams.wire.codec import Codecs


def mended(
    original: Original, letter: Mapping[str, Any], edits: Mapping[str, Any], codecs: Codecs, topic_prefix: str
) -> tuple[bytes, dict[str, Any]]:
    """The value to publish, and its fields. Raises RecordError where the original can't be decoded, or the edits do not fit."""
    topic = str(letter["source_topic"]).removeprefix(topic_prefix)
    codec = codecs.for_topic(topic)
    fields = codec.decode(original.value, original.headers)
    unknown = sorted(set(edits) - set(codec.kinds))
    if unknown:
        raise RecordError(Reason.WRONG_SCHEMA, f"{topic} has no field {', '.join(unknown)}")
    fields |= edits
    if "event_id" in set(codec.kinds) and not fields.get("event_id"):
        fields["event_id"] = f"recovered-{letter['dead_letter_id']}"
    try:
        return codec.encode(fields), fields
    except (ValueError, TypeError) as error:
        raise RecordError(Reason.WRONG_SCHEMA, f"the edited value does not fit the schema ({type(error).__name__})") from None
