"""Reads rows of real CSV files. A broken row is counted and left out, without losing good rows."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from streams.errors import ConfigurationError
from streams.sources.mapping import CsvForm

MAX_LINE = 1_048_576
"""Bytes; no broker takes a larger record by default."""
_DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons"}
MAX_JOINED = 50
"""Most lines of one row whose quoted fields hold line ends."""


@dataclass
class ReadReport:
    """Rows that could not be read, by reason, with the place of the first; and how far the file has been read."""

    broken: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    bytes_read: int = 0

    def count(self, reason: str, where: str = "") -> None:
        self.broken[reason] = self.broken.get(reason, 0) + 1
        self.first.setdefault(reason, where)

    def lines(self) -> list[str]:
        """One line a reason, for an operator."""
        return [
            f"left out {count} row{'s' if count > 1 else ''}: {reason}{f' (first: {self.first[reason]})' if self.first.get(reason) else ''}"
            for reason, count in sorted(self.broken.items())
        ]


class Row(NamedTuple):
    """``number`` is that of its first line in the file, ``text`` the row as it stands there."""

    number: int
    text: str
    cells: dict[str, str]


def read_rows(
    path: Path,
    needed: Sequence[str],
    report: ReadReport,
    form: CsvForm | None = None,
    encoding: str = "utf-8",
    columns: Collection[str] = (),
) -> Iterator[Row]:
    """Rows of a file, plain or gzipped, whose first line names the columns (in any letter case; the names come out in small letters).

    With a ``form`` the columns may be named by it, are separated by its delimiter, and their names come out as ``columns`` writes them.
    Raises ConfigurationError if the file can't be read, is damaged, or lacks a column.
    """
    delimiter = form.delimiter if form is not None else ","
    with open_plain(path) as (file, raw):
        lines = _Lines(path, file, raw, report, encoding, delimiter)
        if form is not None and form.columns is not None:
            names = list(form.columns)
        else:
            names = _header(path, lines, needed, delimiter, {name.lower() for name in columns} if form is not None else None)
            if form is not None:
                written = {name.lower(): name for name in columns}
                names = [written.get(name, name) for name in names]
        while (line := lines.next()) is not None:
            number, text = line
            cells = text.split(delimiter) if '"' not in text else _quoted_cells(text, len(names), lines)
            if cells is None:
                report.count("a quote is out of place", lines.where(number))
            elif len(cells) != len(names):
                report.count(f"{'fewer' if len(cells) < len(names) else 'more'} fields than columns", lines.where(number))
            else:
                yield Row(number, text, dict(zip(names, cells, strict=True)))


class _Lines:
    """Lines with their numbers, blank ones left out; lines read ahead can be given back."""

    def __init__(
        self, path: Path, file: BinaryIO, raw: BinaryIO, report: ReadReport, encoding: str = "utf-8", delimiter: str = ","
    ) -> None:
        self.delimiter = delimiter
        self._encoding = encoding
        self._path = path
        self._file = file
        self._raw = raw
        self._report = report
        self._number = 0
        self._given_back: list[tuple[int, str]] = []

    def where(self, number: int) -> str:
        return f"{self._path.name} line {number}"

    def next(self) -> tuple[int, str] | None:
        if self._given_back:
            return self._given_back.pop()
        while line := self._read():
            self._number += 1
            if len(line) > MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = self._read()
                self._report.count(f"a line is longer than {MAX_LINE} bytes", self.where(self._number))
                continue
            try:
                text = line.decode(self._encoding).rstrip("\r\n")
            except UnicodeDecodeError:
                # Replacing what can't be read would make one name of two.
                what = "UTF-8; save the file as UTF-8" if self._encoding == "utf-8" else self._encoding
                self._report.count(f"a line is not {what}", self.where(self._number))
                continue
            if self._number == 1:
                text = text.removeprefix("\ufeff")
            if text.strip():
                return self._number, text
        return None

    def give_back(self, lines: Sequence[tuple[int, str]]) -> None:
        self._given_back += reversed(lines)

    def _read(self) -> bytes:
        try:
            line = self._file.readline(MAX_LINE + 1)
            if not self._number % 256:
                self._report.bytes_read = self._raw.tell()
        except (EOFError, OSError, zlib.error) as error:
            raise ConfigurationError(f"{self._path} breaks off or is damaged after line {self._number} ({type(error).__name__})") from None
        return line


def _quoted_cells(text: str, width: int, lines: _Lines) -> list[str] | None:
    """The cells of a row with quotes, which may continue on the next lines. None if the quotes are invalid.

    A quote that is never closed would take in all later lines. So a row may take in only lines that are not complete rows
    themselves. If the result is invalid, these lines are given back, and only the first line counts as broken.
    """
    taken: list[tuple[int, str]] = []
    cells, unfinished = _parse(text, lines.delimiter)
    while unfinished and len(taken) < MAX_JOINED and len(text) < MAX_LINE:
        line = lines.next()
        if line is None:
            break
        taken.append(line)
        if '"' not in line[1]:
            if line[1].count(lines.delimiter) == width - 1:
                break
            text += f"\n{line[1]}"
            continue
        text += f"\n{line[1]}"
        cells, unfinished = _parse(text, lines.delimiter)
    if taken and (cells is None or len(cells) != width):
        lines.give_back(taken)
        return None
    return cells


def _parse(text: str, delimiter: str) -> tuple[list[str] | None, bool]:
    """The cells, or None; and whether a quoted field was still open at the end."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True)), False
    except csv.Error as error:
        return None, "unexpected end of data" in str(error)


def _header(path: Path, lines: _Lines, needed: Sequence[str], delimiter: str, read: Collection[str] | None = None) -> list[str]:
    first = lines.next()
    cells = _parse(first[1], delimiter)[0] if first else None
    names = [name.strip().lower() for name in cells or []]
    missing = [name for name in needed if not set(name.lower().split("|")) & set(names)]
    if missing:
        wrong = ", ".join(name.replace("|", " or ") for name in missing)
        raise ConfigurationError(
            f"{path} has no column {wrong}; its first line must name the columns, "
            f"separated by {_DELIMITER_NAMES.get(delimiter, delimiter)}, "
            f"among them {', '.join(name.replace('|', ' or ') for name in needed)}{hint(path)}"
        )
    # Of columns that nobody reads there may be several.
    twice = sorted({name for name in names if name and names.count(name) > 1 and (read is None or name in read)})
    if twice:
        raise ConfigurationError(f"{path} has column {', '.join(twice)} twice; leave one")
    return names


def hint(path: Path) -> str:
    """Which preset fits a file, as the end of a message about it; empty if none does."""
    from streams.producers.fitting import fitting
    from streams.producers.item_fitting import item_fitting

    if (found := fitting(path)) is not None:
        return f"; it looks like {found}: try `--source {found}`"
    if (found := item_fitting(path)) is not None:
        return f"; it looks like {found}: try `--items-source {found}`"
    return "; or say with `--source` (of items: `--items-source`) how it is written"


@contextmanager
def open_plain(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The bytes of a plain or gzipped file, and the file itself."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    with raw:
        if raw.peek(2)[:2] != b"\x1f\x8b":
            yield raw, raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked, io.BufferedReader(cast("io.RawIOBase", unpacked), 1 << 16) as file:
            yield file, raw
