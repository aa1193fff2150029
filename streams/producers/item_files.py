"""Items from the files of a feed: XML, CSV of any columns, JSON lines, a JSON array or object; plain or gzipped."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from streams.errors import ConfigurationError, Reason, RecordError
from streams.producers.csv_rows import MAX_LINE, ReadReport, open_plain, read_rows
from streams.producers.source_files import json_records
from streams.sources.item_mapping import ItemMapping
from streams.sources.item_rows import gathered
from streams.sources.item_source import ItemLine, ItemSource
from streams.sources.source import rows_as_objects
from streams.sources.xml_items import XmlItems

_CHUNK = 65_536
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class ItemRecords(NamedTuple):
    """What became of one record of a file."""

    where: str
    lines: Sequence[ItemLine]


def read_item_source(path: Path, mapping: ItemMapping, report: ReadReport, at_ms: int) -> Iterator[ItemRecords]:
    """The items of every record; ``at_ms`` decides about sale prices. An id that comes again is a RecordError. What can't be read at all (a
    broken row, a line that is no JSON) is counted in the report.

    Raises ConfigurationError if the file can't be read, lacks the columns of the mapping, or is XML that declares entities.
    """
    source = ItemSource(mapping)
    seen: set[str] = set()
    for where, record in _records(path, mapping, report):
        lines: list[ItemLine] = []
        try:
            lines += [record] if isinstance(record, RecordError) else source.items(record, at_ms)
        except RecordError as error:
            lines = [error]
        for place, line in enumerate(lines):
            if isinstance(line, RecordError):
                continue
            if line["item_id"] in seen:
                lines[place] = RecordError(Reason.DUPLICATE_ITEM, "an item of this id has come before; the first counts")
            else:
                seen.add(line["item_id"])
        yield ItemRecords(where, lines)


def _records(path: Path, mapping: ItemMapping, report: ReadReport) -> Iterator[tuple[str, Any]]:
    if mapping.form == "xml":
        yield from _of_xml(path, mapping, report)
    elif mapping.form == "csv":
        with open_plain(path) as (file, _):
            if file.read(2) in _UTF_16:
                raise ConfigurationError(f"{path} is UTF-16; save it as UTF-8")
        rows = read_rows(path, mapping.needed_columns, report, mapping.csv, mapping.encoding or "utf-8", mapping.columns)
        cells = ((row.number, rows_as_objects(list(row.cells), list(row.cells.values()))) for row in rows)
        for number, record in gathered(cells, mapping.gather):
            yield f"{path.name} line {number}", record
    else:
        for number, record in json_records(path, mapping.encoding or "utf-8", report):
            yield f"{path.name} line {number}", record


def _of_xml(path: Path, mapping: ItemMapping, report: ReadReport) -> Iterator[tuple[str, Any]]:
    reader = XmlItems(mapping.elements, encoding=mapping.encoding, max_bytes=MAX_LINE)
    number = 0
    try:
        with open_plain(path) as (file, raw):
            ended = False
            while not ended:
                data = file.read(_CHUNK)
                ended = not data
                for found in reader.close() if ended else reader.feed(data):
                    number += 1
                    yield f"{path.name} item {number}", found
                report.bytes_read = raw.tell()
    except RecordError as error:
        raise ConfigurationError(f"{path} is not read: {error.detail}") from None
    except (EOFError, OSError, zlib.error) as error:
        raise ConfigurationError(f"{path} breaks off or is damaged after item {number} ({type(error).__name__})") from None
    if not number:
        report.count(f"the XML holds none of {', '.join(sorted(mapping.elements))}", path.name)
