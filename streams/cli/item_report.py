"""What would become of the items of a file: the rules of the catalogue stage, without a broker and without a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.cli.report_lines import refused_lines, refused_objects, share
from streams.clock import SystemClock
from streams.errors import RecordError
from streams.producers.csv_rows import ReadReport
from streams.producers.item_files import read_item_source
from streams.serde.records import Item
from streams.settings import Settings
from streams.sources.item_mapping import ItemMapping
from streams.stages.catalogue.validate import item_text, valid_item
from streams.visible_text import visible


@dataclass
class ItemReport:
    """Counts of a file's records and items."""

    mapping: str
    read: ReadReport
    shown: list[str] = field(default_factory=list)
    records: int = 0
    taken: int = 0
    not_recommended: int = 0
    groups: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def items(self) -> int:
        return self.taken + self.refused.total() + sum(self.read.broken.values())

    @property
    def mostly_good(self) -> bool:
        """Whether at least half of the items would be taken, and there is one."""
        return 0 < self.items <= 2 * self.taken

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        counts = {"records": self.records, "items": self.items, "taken": self.taken, "not_recommended": self.not_recommended}
        refused = refused_objects(self.refused, self.first, self.read)
        return {"source": self.mapping, **counts, "groups": len(self.groups), "refused": refused, "shown": self.shown}

    def lines(self) -> list[str]:
        found = [
            *self.shown,
            f"source {self.mapping}: {self.records:,} records, {self.items:,} items",
            f"  taken    {share(self.taken, self.items)}  {self.not_recommended:,} of them out of stock or hidden, "
            f"{len(self.groups):,} groups",
        ]
        return found + refused_lines(self.refused, self.first, self.read, self.items)


def report_on_items(path: Path, mapping: ItemMapping, settings: Settings, records: int, shown: int) -> ItemReport:
    """Reads the first records of a file. Raises ConfigurationError if it can't be read or lacks the mapping's columns."""
    report = ItemReport(mapping.name, ReadReport())
    for number, record in enumerate(read_item_source(path, mapping, report.read, SystemClock().now_ms())):
        if number >= records:
            break
        report.records += 1
        for line in record.lines:
            try:
                if isinstance(line, RecordError):
                    raise line
                item = valid_item(line["item_id"].encode(), line)
            except RecordError as error:
                report.refused[str(error)] += 1
                report.first.setdefault(str(error), record.where)
                outcome = f"refused: {error}"
            else:
                report.taken += 1
                report.not_recommended += item["blocked"] or not item["in_stock"]
                if item["group_id"] is not None:
                    report.groups.add(item["group_id"])
                outcome = _described(item, settings)
            if number < shown:
                report.shown.append(visible(f"{record.where}: {outcome}"))
    return report


def _described(item: Item, settings: Settings) -> str:
    price = "" if item["price"] is None else f", {item['price']:g} {item['currency'] or ''}".rstrip()
    group = "" if item["group_id"] is None else f", group {item['group_id']}"
    state = "".join(f" [{word}]" for word, holds in (("out of stock", not item["in_stock"]), ("hidden", item["blocked"])) if holds)
    return f"item {item['item_id']}{group}{price}{state}: {item_text(item, settings.item_text_characters, settings.item_language)[:80]}"
