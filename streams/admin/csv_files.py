"""Items and events from CSV files, as producers' records."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

from streams.errors import ConfigurationError

_ITEM_COLUMNS = ("item", "title")
_EVENT_COLUMNS = ("ts", "user", "event_type")
_TRUE = frozenset({"1", "true", "yes", "y"})
_FALSE = frozenset({"0", "false", "no", "n"})


@dataclass
class ReadReport:
    """Rows that could not be read, by reason; they are left out, the rest goes on."""

    broken: dict[str, int] = field(default_factory=dict)

    def count(self, reason: str) -> None:
        self.broken[reason] = self.broken.get(reason, 0) + 1


def read_items(path: Path, report: ReadReport) -> Iterator[dict[str, Any]]:
    """Item values. Raises ConfigurationError where the file can't be read or lacks a column."""
    for _, row in _rows(path, _ITEM_COLUMNS, report):
        try:
            price = _number(row.get("price") or row.get("price_median"))
            yield {
                "item_id": row["item"].strip(),
                "title": row["title"],
                "category": row.get("category") or None,
                "brand": row.get("brand") or None,
                "description": row.get("description") or None,
                "price": price,
                "currency": row.get("currency") or None,
                "in_stock": _flag(row.get("in_stock"), default=True),
                "blocked": _flag(row.get("blocked"), default=False),
                "tags": [tag for tag in (row.get("tags") or "").split("|") if tag],
                "updated_at": None,
            }
        except ValueError:
            report.count("an item's price or flag is no number or flag")


def read_events(path: Path, report: ReadReport) -> Iterator[dict[str, Any]]:
    """Raw event values. An event without an id gets one from its place in the file, so that replaying twice applies once."""
    salt = blake2b(path.name.encode(), digest_size=8).hexdigest()
    for line, row in _rows(path, _EVENT_COLUMNS, report):
        try:
            quantity = _number(row.get("qty") or row.get("quantity"))
            price = _number(row.get("price"))
            position = _number(row.get("position"))
        except ValueError:
            report.count("an event's qty, price or position is no number")
            continue
        yield {
            "user_id": row["user"],
            "event_type": row["event_type"],
            "event_id": row.get("event_id") or f"{salt}-{line}",
            "occurred_at": row["ts"],
            "item_id": row.get("item") or None,
            "query": row.get("query") or None,
            "quantity": quantity,
            "price": price,
            "currency": row.get("currency") or None,
            "recommendation_id": row.get("recommendation_id") or None,
            "position": int(position) if position is not None else None,
            "session_id": row.get("session_id") or row.get("session") or None,
            "region": row.get("region") or row.get("country") or None,
            "user_agent": row.get("user_agent") or None,
        }


def _rows(path: Path, needed: tuple[str, ...], report: ReadReport) -> Iterator[tuple[int, Mapping[str, str]]]:
    with open_text(path) as file:
        reader = csv.DictReader(file, strict=True)
        try:
            names = reader.fieldnames
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise ConfigurationError(f"{path} is no CSV file ({type(error).__name__})") from None
        missing = [name for name in needed if name not in (names or ())]
        if missing:
            raise ConfigurationError(
                f"{path} has no column {', '.join(missing)}; its first line must name the columns, among them {', '.join(needed)}"
            )
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                report.count("a line is no CSV")
                continue
            except (EOFError, gzip.BadGzipFile, OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{path} breaks off or is damaged after line {reader.line_num} ({type(error).__name__})") from None
            if any(row.get(name) is None for name in needed):
                report.count("a line is too short")
                continue
            yield reader.line_num, row


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """UTF-8 text of a plain or gzipped file."""
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else io.open
    try:
        file = opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    with file:
        yield file


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and text.strip() else None


def _flag(text: str | None, *, default: bool) -> bool:
    lowered = (text or "").strip().lower()
    if not lowered:
        return default
    if lowered in _TRUE or lowered in _FALSE:
        return lowered in _TRUE
    raise ValueError(lowered)
