"""What a record's headers say of its value: JSON, one CloudEvent or several, the attributes of a binary CloudEvent, the source.

CloudEvents 1.0.2, JSON event format and Kafka protocol binding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from streams.errors import Reason, RecordError

SOURCE_HEADER = "veilstream-source"
EVENT_ID_HEADER = "veilstream-event-id"
TIME_HEADER = "veilstream-time"
"""On records that ``recover`` publishes again: what stands for an id and a time that the events do not have (milliseconds)."""
MAX_EVENTS = 1000
"""In one record."""
_CLOUD = "application/cloudevents"
_ATTRIBUTES = ("id", "source", "type", "time", "subject", "datacontenttype")
_MAX_ATTRIBUTE = 1024

Headers = Sequence[tuple[str, bytes | None]]


class Envelope(NamedTuple):
    """What the headers say; texts are decoded, what can't be is missing."""

    source: str | None
    content_type: str
    """In lower case, without parameters; empty where there is none."""
    attributes: dict[str, str] | None
    """Those of a CloudEvent in binary mode."""
    replayed: tuple[str | None, str | None] = (None, None)
    """Id and time of a record that was published again."""


def envelope(headers: Headers) -> Envelope:
    """Reads the headers. The first of each name counts."""
    source: str | None = None
    content_type = ""
    attributes: dict[str, str] | None = None
    event_id: str | None = None
    time: str | None = None
    for name, value in headers:
        if value is None:
            continue
        lowered = name.lower()
        if lowered == EVENT_ID_HEADER:
            event_id = _text(value)
        elif lowered == TIME_HEADER:
            time = _text(value)
        if lowered == SOURCE_HEADER:
            source = _text(value) if source is None else source
        elif lowered == "content-type":
            content_type = content_type or _text(value.split(b";", 1)[0]).strip().lower()
        elif lowered[:3] == "ce_" and lowered[3:] in (*_ATTRIBUTES, "specversion"):
            attributes = attributes if attributes is not None else {}
            attributes.setdefault(lowered[3:], _text(value))
    if attributes is not None and "specversion" not in attributes:
        attributes = None
    return Envelope(source, content_type, attributes, (event_id, time))


def says_json(content_type: str) -> bool:
    """Whether a value of this type is read as JSON."""
    return content_type == "application/json" or (content_type.startswith("application/") and content_type.endswith("+json"))


def objects(value: bytes, found: Envelope, encoding: str = "utf-8") -> list[tuple[Any, dict[str, str] | None]]:
    """The JSON values in a record's value, each with the attributes of its CloudEvent, if it is of one.

    Raises RecordError for what is no JSON, and for more values than are read.
    """
    decoded = _loads(value, encoding)
    if type(decoded) is list:
        if len(decoded) > MAX_EVENTS:
            raise RecordError(Reason.TOO_LARGE, f"the array has {len(decoded)} events; at most {MAX_EVENTS} are read")
        if not decoded:
            raise RecordError(Reason.EMPTY, "the array is empty")
        values = decoded
    else:
        values = [decoded]
    if found.content_type.startswith(_CLOUD):
        return [_unwrapped(one) for one in values]
    return [(one, found.attributes) for one in values]


def _loads(value: bytes, encoding: str) -> Any:
    if encoding not in ("utf-8", "utf8"):
        try:
            value = value.decode(encoding).encode()
        except UnicodeError:
            raise RecordError(Reason.UNDECODABLE, "the value is not in the declared encoding") from None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise RecordError(Reason.UNDECODABLE, "the header or the mapping says JSON, but the value is not JSON") from None


def _unwrapped(event: Any) -> tuple[Any, dict[str, str] | None]:
    """The data of a CloudEvent in structured mode."""
    if type(event) is not dict or type(event.get("specversion")) is not str:
        raise RecordError(Reason.BAD_SHAPE, "the header says CloudEvents, but the value has no specversion")
    if "data" not in event:
        why = "its data is in base64, which is not read" if "data_base64" in event else "it has no data"
        raise RecordError(Reason.BAD_SHAPE, f"a CloudEvent that can't be read: {why}")
    attributes = {name: event[name] for name in _ATTRIBUTES if type(event.get(name)) is str}
    data = event["data"]
    if type(data) is str:
        # Some SDKs put JSON into it as a text.
        try:
            data = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise RecordError(Reason.BAD_SHAPE, "the data of the CloudEvent is a text, and not JSON") from None
    return data, attributes


def _text(value: bytes) -> str:
    return value[:_MAX_ATTRIBUTE].decode("utf-8", "replace").strip()
