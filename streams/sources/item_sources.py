"""All sources of items that a worker knows, and which of them a record is of: by header, by topic, or by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from streams.errors import ConfigurationError, Reason, RecordError
from streams.sources.envelope import Envelope, envelope, objects
from streams.sources.item_rows import rows_of
from streams.sources.item_source import ItemLine, ItemSource
from streams.sources.source import MAX_IN_ALL
from streams.sources.sources import NONE, PLAIN
from streams.sources.xml_items import XmlItems


class Record(Protocol):
    """The part of a source record that is read here."""

    @property
    def topic(self) -> str: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class OwnForm(Protocol):
    """The codec of the product's own items."""

    def decode(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ..., /) -> dict[str, Any]: ...


class ItemSources:
    """Reads records to items. Without any mapping it reads the product's own form, in Avro or JSON."""

    def __init__(
        self,
        own: OwnForm,
        sources: Mapping[str, ItemSource],
        *,
        default: str | None = None,
        by_topic: Mapping[str, str] | None = None,
        max_bytes: int = 262_144,
    ) -> None:
        """``by_topic`` is of full topic names. Raises ConfigurationError where a name is that of no source."""
        self._own, self._sources, self._max_bytes = own, sources, max_bytes
        self._default = self._known(default, "VEILSTREAM_ITEMS_SOURCE") if default is not None else None
        self._by_topic = {topic: self._known(name, "VEILSTREAM_ITEMS_SOURCE_TOPICS") for topic, name in (by_topic or {}).items()}

    def _known(self, name: str, setting: str) -> ItemSource:
        found = self._sources.get(name)
        if found is None:
            raise ConfigurationError(
                f"{setting} names {name}, which is no source of items; there are {', '.join(sorted(self._sources)) or 'none'}"
            )
        return found

    def source_of(self, record: Record) -> ItemSource | None:
        """The source whose mapping reads a record; None for the product's own form. Raises RecordError for a header that names none."""
        source = self._by_topic.get(record.topic, self._default)
        named = envelope(record.headers).source if record.headers else None
        if named:
            source = self._sources.get(named)
            if source is None and named != PLAIN:
                raise RecordError(
                    Reason.UNKNOWN_SOURCE, "the header veilstream-source names no source of items; see `veilstream sources list`"
                )
        return source

    def read(self, record: Record) -> tuple[str, Sequence[ItemLine]]:
        """The name of the record's source, or ``none``, and its items, or why they can't be read. Not for tombstones."""
        try:
            source = self.source_of(record)
        except RecordError as error:
            return NONE, [error]
        try:
            if source is None:
                return NONE, [self._own.decode(record.value, record.headers)]
            return source.name, self._mapped(record, source)
        except RecordError as error:
            return source.name if source is not None else NONE, [error]

    def _mapped(self, record: Record, source: ItemSource) -> list[ItemLine]:
        value, mapping = record.value, source.mapping
        if not value:
            raise RecordError(Reason.EMPTY, "the value is empty")
        if len(value) > self._max_bytes:
            raise RecordError(Reason.TOO_LARGE, f"{len(value)} bytes; at most {self._max_bytes} are read")
        if value[0] == 0 and mapping.form != "xml":
            raise RecordError(Reason.BAD_FRAMING, "a source with a mapping sends text, and this is framed Avro")
        parts: list[Any]
        if mapping.form == "xml":
            reader = XmlItems(mapping.elements, encoding=mapping.encoding, max_bytes=self._max_bytes)
            parts = [*reader.feed(value), *reader.close()]
            if not parts:
                raise RecordError(Reason.EMPTY, f"the XML holds none of {', '.join(sorted(mapping.elements))}")
        elif mapping.form == "csv":
            parts = [row if isinstance(row, RecordError) else row.record for row in rows_of(value, mapping)]
        else:
            found = envelope(record.headers) if record.headers else _NO_HEADERS
            parts = [one for one, _ in objects(value, found, mapping.encoding or "utf-8")]
        lines: list[ItemLine] = []
        for part in parts:
            try:
                lines += [part] if isinstance(part, RecordError) else source.items(part, record.timestamp)
            except RecordError as error:
                lines.append(error)
            if len(lines) > MAX_IN_ALL:
                raise RecordError(Reason.TOO_LARGE, f"the record has more than {MAX_IN_ALL} items")
        return once(lines)


def once(lines: list[ItemLine]) -> list[ItemLine]:
    """Each id once: a second item of it is refused."""
    seen: set[str] = set()
    kept: list[ItemLine] = []
    for line in lines:
        if isinstance(line, RecordError):
            kept.append(line)
        elif line["item_id"] in seen:
            kept.append(RecordError(Reason.DUPLICATE_ITEM, "the record has two items of one id; the first counts"))
        else:
            seen.add(line["item_id"])
            kept.append(line)
    return kept


_NO_HEADERS = Envelope(None, "", None)
