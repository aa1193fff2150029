"""All sources that a worker knows, and which of them a record is of: by header, by topic, or by default."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from streams.errors import ConfigurationError, Reason, RecordError
from streams.sources.envelope import Envelope, Headers, envelope, objects, says_json
from streams.sources.source import Line, Source, rows_as_objects
from streams.stages.identifiers import EVENT_TYPES

PLAIN = "plain"
"""The product's own form, where a header asks for it although there is a default."""


class Record(Protocol):
    """The part of a source record that is read here."""

    @property
    def topic(self) -> str: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class OwnForm(Protocol):
    """The codec of the product's own events."""

    def decode(self, value: bytes | None, headers: Headers = ()) -> dict[str, Any]: ...
    def from_json(self, value: Mapping[str, Any]) -> dict[str, Any]: ...


class Sources:
    """Reads records to raw events. Without any mapping it reads the product's own form, in Avro or JSON."""

    def __init__(
        self,
        own: OwnForm,
        sources: Mapping[str, Source],
        *,
        default: str | None = None,
        by_topic: Mapping[str, str] | None = None,
        max_bytes: int = 262_144,
    ) -> None:
        """``by_topic`` is of full topic names. Raises ConfigurationError where a name is that of no source."""
        self._own = own
        self._sources = sources
        self._max_bytes = max_bytes
        self._default = self._known(default, "VEILSTREAM_SOURCE") if default is not None else None
        self._by_topic = {topic: self._known(name, "VEILSTREAM_SOURCE_TOPICS") for topic, name in (by_topic or {}).items()}

    def _known(self, name: str, setting: str) -> Source:
        found = self._sources.get(name)
        if found is None:
            raise ConfigurationError(f"{setting} names {name}, which is no source; there are {', '.join(sorted(self._sources))}")
        return found

    def of(self, record: Record) -> str | None:
        """The name of the record's source, if it is one that is known here: never a producer's own words."""
        found = envelope(record.headers) if record.headers else None
        if found is not None and found.source is not None:
            return found.source if found.source in self._sources else None
        source = self._by_topic.get(record.topic, self._default)
        return source.name if source is not None else None

    def read(self, record: Record) -> list[Line]:
        """The events of a record, or why they can't be read. Raises RecordError where nothing of it can be."""
        headers = record.headers
        if not headers:
            return self._read(record, _NO_HEADERS)
        found = envelope(headers)
        lines = self._read(record, found)
        return lines if found.replayed == (None, None) else _as_replayed(lines, *found.replayed)

    def _read(self, record: Record, found: Envelope) -> list[Line]:
        source = self._by_topic.get(record.topic, self._default)
        if found.source is not None and found.source != "":
            source = None if found.source == PLAIN else self._sources.get(found.source)
            if source is None and found.source != PLAIN:
                raise RecordError(Reason.UNKNOWN_SOURCE, "the header veilstream-source names no source; see `veilstream sources list`")
        if source is None and not (found.attributes or says_json(found.content_type)):
            return [self._own.decode(record.value, record.headers)]
        value = record.value
        if not value:
            raise RecordError(Reason.EMPTY, "the value is empty")
        if len(value) > self._max_bytes:
            raise RecordError(Reason.TOO_LARGE, f"{len(value)} bytes; at most {self._max_bytes} are read")
        if source is None:
            return self._plain(value, found)
        if source.mapping.form == "csv":
            return source.events(_csv_row(value, source))
        if value[0] == 0:
            raise RecordError(Reason.BAD_FRAMING, "a source with a mapping sends JSON, and this is framed Avro")
        return _each(objects(value, found, source.mapping.encoding), lambda one, attributes: source.events(_with(one, attributes)), source)

    def _plain(self, value: bytes, found: Envelope) -> list[Line]:
        return _each(objects(value, found), lambda one, attributes: [self._own.from_json(_completed(one, attributes))], None)


_NO_HEADERS = Envelope(None, "", None)


def _each(
    parts: list[tuple[Any, dict[str, str] | None]],
    read: Callable[[Any, dict[str, str] | None], list[Line]],
    source: Source | None,
) -> list[Line]:
    """One that can't be read leaves the others of its array as they are."""
    if len(parts) == 1:
        return read(*parts[0])
    lines: list[Line] = []
    for one, attributes in parts:
        try:
            lines += read(one, attributes)
        except RecordError as error:
            lines.append(error)
        if len(lines) > _MOST:
            raise RecordError(Reason.TOO_LARGE, f"the record has more than {_MOST} lines")
    return lines


_MOST = 5000


def _as_replayed(lines: list[Line], event_id: str | None, time: str | None) -> list[Line]:
    """Lines with the id and time that they had when they came first, where they have none of their own."""
    for number, line in enumerate(lines):
        if isinstance(line, dict):
            if event_id and not (line["event_id"] or "").strip():
                line["event_id"] = f"{event_id}#{number}"
            if line["occurred_at"] is None and time is not None and time.isdigit() and len(time) < 16:
                line["occurred_at"] = int(time)
    return lines


def _with(one: Any, attributes: dict[str, str] | None) -> Any:
    """An object with the attributes of its CloudEvent under ``ce``."""
    return {**one, "ce": attributes} if attributes is not None and type(one) is dict else one


def _completed(one: Any, attributes: dict[str, str] | None) -> dict[str, Any]:
    """An object of the product's own fields; what it lacks is taken from its CloudEvent."""
    if type(one) is not dict:
        raise RecordError(Reason.UNDECODABLE, "the JSON value is not an object")
    if attributes is None:
        return one
    event = dict(one)
    if event.get("event_id") is None and "id" in attributes:
        event["event_id"] = f"{attributes.get('source', '')}/{attributes['id']}"
    if event.get("occurred_at") is None and "time" in attributes:
        event["occurred_at"] = attributes["time"]
    if event.get("event_type") is None and attributes.get("type", "").lower() in EVENT_TYPES:
        event["event_type"] = attributes["type"]
    return event


def _csv_row(value: bytes, source: Source) -> dict[str, str | None]:
    form = source.mapping.csv
    if form.columns is None:
        raise RecordError(Reason.BAD_SHAPE, "the mapping does not say which columns a line has (`csv: {columns: [...]}`)")
    try:
        text = value.decode(source.mapping.encoding)
        cells = next(csv.reader([text.rstrip("\r\n")], delimiter=form.delimiter, strict=True))
    except (UnicodeError, csv.Error, StopIteration):
        raise RecordError(Reason.UNDECODABLE, "the value is no line of CSV in the declared encoding") from None
    if len(cells) != len(form.columns):
        raise RecordError(Reason.BAD_SHAPE, f"the line has {len(cells)} fields, not {len(form.columns)}")
    return rows_as_objects(form.columns, cells)
