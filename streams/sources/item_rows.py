"""Rows of a feed in CSV: named by its first line, and gathered where several are of one product."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from streams.errors import Reason, RecordError
from streams.sources.item_mapping import ItemMapping
from streams.sources.source import MAX_LINES

Cells = Mapping[str, str | None]


class Gathered(NamedTuple):
    """A record, and the number of the row that it begins with."""

    number: int
    record: dict[str, Any]


def gathered(rows: Iterable[tuple[int, Cells]], columns: Sequence[str]) -> Iterator[Gathered]:
    """Numbered rows to records. Consecutive rows with the same text in the first of the ``columns`` that is there are one record: the cells
    of its first row, and all its ``rows``. Without columns every row is a record.
    """
    begun: Gathered | None = None
    of: str | None = None
    for number, cells in rows:
        if not columns:
            yield Gathered(number, dict(cells))
            continue
        name = next((text.strip() for column in columns if (text := cells.get(column)) is not None), None)
        if begun is not None and (name is None or name != of):
            yield begun
            begun = None
        if begun is None:
            begun = Gathered(number, {**cells, "rows": [dict(cells)]})
            of = name
        elif len(begun.record["rows"]) <= MAX_LINES:
            begun.record["rows"].append(dict(cells))
        if name is None:
            yield begun
            begun = None
    if begun is not None:
        yield begun


def rows_of(value: bytes, mapping: ItemMapping) -> list[Gathered | RecordError]:
    """The records in one record's value, whose first line names the columns if the mapping does not. A row with other columns is a
    RecordError. Raises RecordError for what is no CSV.
    """
    try:
        text = value.decode(mapping.encoding or "utf-8").removeprefix("\ufeff")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mapping.csv.delimiter, strict=True) if row]
    except (UnicodeError, csv.Error):
        raise RecordError(Reason.UNDECODABLE, "the value is no CSV in the declared encoding") from None
    names = list(mapping.csv.columns or ())
    if not names and rows:
        names = named(rows[0], mapping)
        rows = rows[1:]
    if not rows:
        raise RecordError(Reason.EMPTY, "the value has no row; its first line names the columns, unless the mapping does")
    wrong: list[Gathered | RecordError] = [
        RecordError(Reason.BAD_SHAPE, f"a line has {len(row)} fields, not {len(names)}") for row in rows if len(row) != len(names)
    ]
    good = ((n, _cells(names, row)) for n, row in enumerate(rows) if len(row) == len(names))
    return [*gathered(good, mapping.gather), *wrong]


def named(header: Sequence[str], mapping: ItemMapping) -> list[str]:
    """The names of the columns as the mapping writes them."""
    written = {name.lower(): name for name in mapping.columns}
    return [written.get(name.strip().lower(), name.strip().lower()) for name in header]


def _cells(names: Sequence[str], row: Sequence[str]) -> dict[str, str | None]:
    """Blank cells hold nothing; of two columns of one name the first counts."""
    return {name: cell if cell.strip() else None for name, cell in reversed(list(zip(names, row, strict=True)))}
