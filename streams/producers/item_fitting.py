"""Which preset of items fits a file, by its beginning."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson

from streams.errors import RecordError
from streams.producers.csv_rows import open_plain
from streams.producers.source_files import objects_of
from streams.sources.item_mapping import ItemMapping
from streams.sources.item_rows import gathered, named
from streams.sources.item_source import ItemSource
from streams.sources.loading import item_presets
from streams.sources.source import rows_as_objects
from streams.sources.xml_items import XmlItems

_BYTES = 1 << 20
_WHOLE = 1 << 26
"""Bytes of a file that is one JSON value."""
_RECORDS = 50
_GOOD = 0.5
_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"


def item_fitting(path: Path) -> str | None:
    """The name of the preset by which most of the first records are items; None if none reads half of them."""
    with open_plain(path) as (file, _):
        data = file.read(_BYTES)
        if len(data) == _BYTES and data.lstrip(_BLANK)[:1] in (b"{", b"[") and not _is_json(data.lstrip(_BLANK).split(b"\n", 1)[0]):
            data += file.read(_WHOLE)
    best, most = None, _GOOD
    for name, mapping in item_presets().items():
        share = _share(mapping, data)
        if share > most:
            best, most = name, share
    return best


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _share(mapping: ItemMapping, data: bytes) -> float:
    source = ItemSource(mapping)
    good = bad = 0
    for record in _records(mapping, data)[:_RECORDS]:
        try:
            lines = [record] if isinstance(record, RecordError) else source.items(record, 0)
        except RecordError as error:
            lines = [error]
        if any(isinstance(line, RecordError) for line in lines):
            bad += 1
        else:
            good += bool(lines)
    return good / (good + bad) if good else 0.0


def _records(mapping: ItemMapping, data: bytes) -> list[Any]:
    start = data.lstrip(_BLANK)[:1]
    if mapping.form == "xml":
        try:
            if start != b"<":
                return []
            reader = XmlItems(mapping.elements)
            return [*reader.feed(data), *(reader.close() if len(data) < _BYTES else ())]
        except RecordError:
            return []
    if start == b"<":
        return []
    if mapping.form == "json":
        return objects_of(data, most=_RECORDS)
    try:
        text = data[: data.rfind(b"\n") + 1 or None].decode(mapping.encoding or "utf-8").removeprefix("\ufeff")
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=mapping.csv.delimiter))
    except (UnicodeDecodeError, csv.Error):
        return []
    names = named(rows[0], mapping) if rows else []
    needed = [*mapping.needed_columns, *(["|".join(mapping.gather)] if mapping.gather else [])]
    if any(not set(one_of.split("|")) & set(names) for one_of in needed):
        return []
    cells = ((number, rows_as_objects(names, row)) for number, row in enumerate(rows[1:]) if len(row) == len(names))
    return [one.record for one in gathered(cells, mapping.gather)]
