"""All sources that a worker knows, and which of them a record is of: by header, by topic, or by default."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from streams.errors import ConfigurationError, Reason, RecordError
from streams.sources.envelope import SOURCE_HEADER, Envelope, Headers, envelope, objects, says_json
from streams.sources.source import MAX_IN_ALL, Line, Source, rows_as_objects
from streams.stages.identifiers import EVENT_TYPES

NONE = "none"
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
        self._by_header = {name.encode(): Envelope(name, "", None) for name in sources}
        self._is_mapped = default is not None or bool(by_topic)
        self._by_topic = {topic: self._known(name, "VEILSTREAM_SOURCE_TOPICS") for topic, name in (by_topic or {}).items()}

    def _known(self, name: str, setting: str) -> Source:
        found = self._sources.get(name)
        if found is None:
            raise ConfigurationError(f"{setting} names {name}, which is no source; there are {', '.join(sorted(self._sources))}")
        return found

    def read(self, record: Record) -> tuple[str, Sequence[Line]]:
        """The name of the record's source, and its events, or why they can't be read.

        The name is that of a mapping, or ``none``: never a producer's own words.
        """
        headers = record.headers
        if not self._is_mapped and (not headers or (len(headers) == 1 and headers[0] == _JSON and (record.value or b"")[:1] == b"{")):
            # What most records are needs no closer look.
            try:
                return NONE, (self._own.decode(record.value, headers),)
            except RecordError as error:
                return NONE, (error,)
        if len(headers) == 1 and headers[0][0] == SOURCE_HEADER and headers[0][1] in self._by_header:
            found = self._by_header[headers[0][1]]
        else:
            found = envelope(headers) if headers else _NO_HEADERS
        source = self._by_topic.get(record.topic, self._default)
        try:
            if found.source:
                source = self._sources.get(found.source)
                if source is None and found.source != PLAIN:
                    raise RecordError(Reason.UNKNOWN_SOURCE, "the header veilstream-source names no source; see `veilstream sources list`")
            lines = self._lines(record, found, source)
        except RecordError as error:
            lines = [error]
        if found.replayed != _NOT_REPLAYED:
            lines = _as_replayed(lines, *found.replayed)
        return source.name if source is not None else NONE, lines

    def _lines(self, record: Record, found: Envelope, source: Source | None) -> list[Line]:
        if source is None and not (found.attributes or says_json(found.content_type)):
            return [self._own.decode(record.value, record.headers)]
        value = record.value
        if not value:
            raise RecordError(Reason.EMPTY, "the value is empty")
        if len(value) > self._max_bytes:
            raise RecordError(Reason.TOO_LARGE, f"{len(value)} bytes; at most {self._max_bytes} are read")
        if source is None:
            return _each(objects(value, found), lambda one, attributes: [self._own.from_json(_completed(one, attributes))])
        if source.mapping.form == "csv":
            return source.events(_csv_row(value, source))
        if value[0] == 0:
            raise RecordError(Reason.BAD_FRAMING, "a source with a mapping sends JSON, and this is framed Avro")
        return _each(objects(value, found, source.mapping.encoding), lambda one, attributes: source.events(_with(one, attributes)))


_NO_HEADERS = Envelope(None, "", None)
_NOT_REPLAYED = (None, None)
_JSON = ("content-type", b"application/json")


def _each(
    parts: list[tuple[Any, dict[str, str] | None]],
    read: Callable[[Any, dict[str, str] | None], list[Line]],
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
        if len(lines) > MAX_IN_ALL:
            raise RecordError(Reason.TOO_LARGE, f"the record has more than {MAX_IN_ALL} lines")
    return lines


def _as_replayed(lines: list[Line], event_id: str | None, time: str | None) -> list[Line]:
    """Lines with the id and time that they had when they came first, where they have none of their own."""
    for number, line in enumerate(lines):
        if isinstance(line, dict):
            if event_id and not (line["event_id"] or "").strip():
                line["event_id"] = f"{event_id}#{number}"
            if line["occurred_at"] is None and time is not None and time.isascii() and time.isdigit() and len(time) < 16:
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
