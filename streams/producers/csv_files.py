"""Items and events from CSV files, as producers' records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streams.errors import RecordError
from streams.producers.csv_rows import ReadReport, read_rows
from streams.producers.item_files import read_item_source
from streams.producers.row_ids import event_id
from streams.producers.source_files import read_source
from streams.sources.item_mapping import ItemMapping
from streams.sources.mapping import SourceMapping
from streams.stages.times import to_milliseconds

__all__ = ["ReadReport", "event_id", "read_consents", "read_events", "read_items"]

_ITEM_COLUMNS = ("item", "title")
_EVENT_COLUMNS = ("ts", "user", "event_type", "item|query")
_CONSENT_COLUMNS = ("ts", "user|anonymous_id")
_NO_PURPOSES = frozenset({"ts", "user", "anonymous_id", "policy_version", "source"})
_TRUE = frozenset({"1", "true", "yes", "y"})
_FALSE = frozenset({"0", "false", "no", "n"})


def read_items(path: Path, report: ReadReport, mapping: ItemMapping | None = None, *, at_ms: int = 0) -> Iterator[dict[str, Any]]:
    """Item values, of the product's own columns or by a mapping; ``at_ms`` then decides about sale prices. Raises ConfigurationError if the
    file can't be read or lacks a column."""
    if mapping is not None:
        for record in read_item_source(path, mapping, report, at_ms):
            for line in record.lines:
                if isinstance(line, RecordError):
                    report.count(str(line), record.where)
                else:
                    yield line
        return
    for row in read_rows(path, _ITEM_COLUMNS, report):
        cells = row.cells
        try:
            yield {
                "item_id": cells["item"].strip(),
                "title": cells["title"],
                "category": cells.get("category") or None,
                "brand": cells.get("brand") or None,
                "description": cells.get("description") or None,
                "price": _number(cells, "price", "price_median"),
                "currency": cells.get("currency") or None,
                "in_stock": _flag(cells, "in_stock", default=True),
                "blocked": _flag(cells, "blocked", default=False),
                "tags": [tag for tag in cells.get("tags", "").split("|") if tag],
                "updated_at": None,
                "group_id": cells.get("group_id") or None,
                "titles": {},
                "image_links": [link for link in cells.get("image_links", "").split("|") if link],
            }
        except ValueError as error:
            report.count(str(error), f"{path.name} line {row.number}")


def read_events(path: Path, report: ReadReport, mapping: SourceMapping | None = None) -> Iterator[dict[str, Any]]:
    """Raw event values, of the product's own columns or by a mapping. Raises ConfigurationError if the file can't be read or lacks a
    column."""
    if mapping is not None:
        for record in read_source(path, mapping, report):
            for line in record.lines:
                if isinstance(line, RecordError):
                    report.count(str(line), record.where)
                else:
                    yield line
        return
    for row in read_rows(path, _EVENT_COLUMNS, report):
        cells = row.cells
        try:
            yield {
                "user_id": cells["user"],
                "event_type": cells["event_type"],
                "event_id": cells.get("event_id") or event_id(row),
                "occurred_at": cells["ts"],
                "item_id": cells.get("item") or None,
                "query": cells.get("query") or None,
                "quantity": _number(cells, "qty", "quantity"),
                "price": _number(cells, "price"),
                "currency": cells.get("currency") or None,
                "recommendation_id": cells.get("recommendation_id") or None,
                "position": _position(cells),
                "session_id": cells.get("session_id") or cells.get("session") or None,
                "region": cells.get("region") or cells.get("country") or None,
                "user_agent": cells.get("user_agent") or None,
                "anonymous_id": cells.get("anonymous_id") or None,
                "consent": _flag(cells, "consent", default=False) if cells.get("consent") else None,
            }
        except ValueError as error:
            report.count(str(error), f"{path.name} line {row.number}")


def read_consents(path: Path, report: ReadReport) -> Iterator[dict[str, Any]]:
    """Decisions of shoppers. Every column that is none of ts, user, anonymous_id, policy_version and source is a purpose, with yes or no in
    it, or nothing. Raises ConfigurationError as above."""
    for row in read_rows(path, _CONSENT_COLUMNS, report):
        cells = row.cells
        try:
            named = [name for name, cell in cells.items() if name not in _NO_PURPOSES and cell.strip()]
            purposes = {name: _flag(cells, name, default=False) for name in named}
            if not purposes:
                raise ValueError("the row names no purpose")
            yield {
                "user_id": cells.get("user", ""),
                "purposes": purposes,
                "updated_at": to_milliseconds(cells["ts"]),
                "policy_version": cells.get("policy_version") or None,
                "anonymous_id": cells.get("anonymous_id") or None,
                "source": cells.get("source") or None,
            }
        except (ValueError, RecordError) as error:
            report.count(str(error), f"{path.name} line {row.number}")


def _number(cells: Mapping[str, str], *names: str) -> float | None:
    """The first of these columns that holds something. Raises ValueError that names the column."""
    for name in names:
        text = cells.get(name)
        if text and text.strip():
            try:
                if not text.isascii() or "_" in text:
                    raise ValueError  # Python would read 1_0 and １０, too
                return float(text)
            except ValueError:
                raise ValueError(f"{name} is not a number") from None
    return None


def _position(cells: Mapping[str, str]) -> int | None:
    number = _number(cells, "position")
    if number is None:
        return None
    if not (number.is_integer() and 0 <= number < 2**31):
        raise ValueError("position is not a rank from 0")
    return int(number)


def _flag(cells: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = cells.get(name, "").strip().lower()
    if not text:
        return default
    if text not in _TRUE and text not in _FALSE:
        raise ValueError(f"{name} is neither true nor false")
    return text in _TRUE
