"""Events from the files of a source: CSV of any columns, JSON lines, a JSON array or object; plain or gzipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streams.errors import ConfigurationError, Reason, RecordError
from streams.producers.csv_rows import MAX_LINE, ReadReport, Row, open_plain, read_rows
from streams.producers.row_ids import event_id
from streams.sources.mapping import SourceMapping
from streams.sources.source import Line, Source, rows_as_objects

MAX_WHOLE = 1 << 30
"""Bytes of a file that is one JSON value; lines have no such bound."""


class SourceRecords(NamedTuple):
    """What became of one record of a file."""

    where: str
    lines: Sequence[Line]


def read_source(path: Path, mapping: SourceMapping, report: ReadReport) -> Iterator[SourceRecords]:
    """The events of every record. What can't be read at all (a broken row, a line that is no JSON) is counted in the report.

    Raises ConfigurationError if the file can't be read, or lacks the columns of the mapping.
    """
    source = Source(mapping)
    if mapping.form == "csv":
        for row in read_rows(path, mapping.needed_columns, report, mapping.csv, mapping.encoding, mapping.columns):
            yield SourceRecords(f"{path.name} line {row.number}", _events_of_row(source, row))
        return
    for number, record in json_records(path, mapping.encoding, report):
        try:
            lines: Sequence[Line] = source.events(record)
        except RecordError as error:
            lines = [error]
        yield SourceRecords(f"{path.name} line {number}", lines)


def objects_of(data: bytes, most: int) -> list[Any]:
    """The first JSON values in the beginning of a file; empty if it holds none."""
    found: list[Any] = []
    try:
        whole = orjson.loads(data)
        return whole[:most] if type(whole) is list else [whole]
    except orjson.JSONDecodeError:
        pass
    for line in data.splitlines()[:most]:
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return [one for one in found if type(one) is dict]


def _events_of_row(source: Source, row: Row) -> list[Line]:
    """Two equal rows of a file are two events; the same file once more brings the same events."""
    try:
        lines = source.events(rows_as_objects(list(row.cells), list(row.cells.values())))
    except RecordError as error:
        return [error]
    for number, line in enumerate(lines):
        if isinstance(line, dict) and (line["event_id"] is None or line["event_id"].startswith("content:")):
            line["event_id"] = event_id(row) if number == 0 else f"{event_id(row)}#{number}"
    return lines


def json_records(path: Path, encoding: str, report: ReadReport) -> Iterator[tuple[int, Any]]:
    """The JSON values of a file, each with the number of its line, or of its place in an array. Lines that are no JSON are counted in the
    report. Raises ConfigurationError if the file can't be read."""
    with open_plain(path) as (file, raw):
        number = 0
        while first := file.readline(MAX_LINE + 1):
            number += 1
            if first.strip(b"\xef\xbb\xbf \t\r\n"):
                break
        start = first.strip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith(b"[") or not _is_json(start, encoding):
            data = first + file.read(MAX_WHOLE)
            report.bytes_read = raw.tell()
            if len(data) > MAX_WHOLE:
                raise ConfigurationError(f"{path} is one JSON value of more than {MAX_WHOLE} bytes; write one object a line")
            try:
                whole = _parsed(data, encoding)
            except RecordError:
                whole = None
            if whole is not None:
                yield from ((place + 1, one) for place, one in enumerate(whole if type(whole) is list else [whole]))
                return
            rest: Iterator[bytes] = iter(data.splitlines())
            number -= 1
        else:
            rest = chain([first], iter(lambda: file.readline(MAX_LINE + 1), b""))
            number -= 1
        for line in rest:
            number += 1
            if not number % 256:
                report.bytes_read = raw.tell()
            if not line.strip(b"\xef\xbb\xbf \t\r\n"):
                continue
            if len(line) > MAX_LINE:
                raise ConfigurationError(f"{path} line {number} is longer than {MAX_LINE} bytes")
            try:
                yield number, _parsed(line, encoding)
            except RecordError as error:
                report.count(error.detail, f"{path.name} line {number}")


def _is_json(line: bytes, encoding: str) -> bool:
    try:
        _parsed(line, encoding)
    except RecordError:
        return False
    return True


def _parsed(data: bytes, encoding: str) -> Any:
    try:
        return orjson.loads(data.removeprefix(b"\xef\xbb\xbf") if encoding == "utf-8" else data.decode(encoding))
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        raise RecordError(Reason.UNDECODABLE, "a line is not JSON") from None
