"""Which preset fits a file, by its first lines."""

from __future__ import annotations

import csv
from pathlib import Path

from streams.errors import RecordError
from streams.producers.csv_rows import MAX_LINE, open_plain
from streams.producers.source_files import objects_of
from streams.sources.loading import presets
from streams.sources.mapping import SourceMapping
from streams.sources.source import Source

_LINES = 50
_GOOD = 0.5


def fitting(path: Path) -> str | None:
    """The name of the preset by which most of the first records are events; None if none reads half of them."""
    with open_plain(path) as (file, _):
        lines = [line for _ in range(_LINES) if (line := file.readline(MAX_LINE))]
    best, most = None, _GOOD
    for name, mapping in presets().items():
        share = _share(mapping, lines)
        if share > most:
            best, most = name, share
    return best


def _share(mapping: SourceMapping, lines: list[bytes]) -> float:
    if mapping.form == "csv":
        return _share_of_rows(mapping, lines)
    source = Source(mapping)
    records = objects_of(b"".join(lines), most=_LINES)
    if not records:
        return 0.0
    good = 0
    for record in records:
        try:
            good += bool(events := source.events(record)) and not any(
                isinstance(event, RecordError) or not _is_whole(event) for event in events
            )
        except RecordError:
            continue
    return good / len(records)


def _is_whole(event: dict[str, object]) -> bool:
    return bool(event["user_id"] or event["anonymous_id"]) and bool(event["item_id"] or event["query"])


def _share_of_rows(mapping: SourceMapping, lines: list[bytes]) -> float:
    source = Source(mapping)
    try:
        texts = [line.decode(mapping.encoding).strip("\r\n\ufeff") for line in lines]
        rows = list(csv.reader(texts, delimiter=mapping.csv.delimiter))
    except (UnicodeDecodeError, csv.Error):
        return 0.0
    if mapping.csv.columns is not None:
        names = list(mapping.csv.columns)
    else:
        head = {name.strip().lower() for name in rows[0]} if rows else set()
        names = [{n.lower(): n for n in mapping.columns}.get(name.strip().lower(), name) for name in rows[0]] if rows else []
        if len(head & {name.lower() for name in mapping.columns}) < len(mapping.columns) // 2 + 1:
            return 0.0
        rows = rows[1:]
    rows = [row for row in rows if row]
    good = 0
    for row in rows:
        if len(row) != len(names):
            continue
        try:
            events = source.events(dict(zip(names, row, strict=True)))
            good += not any(isinstance(event, RecordError) for event in events) and bool(events)
        except RecordError:
            continue
    # A file of names only fits by its names.
    return good / len(rows) if rows else float(mapping.csv.columns is None and bool(lines))
