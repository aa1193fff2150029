"""Reads the records of a feed by its mapping: objects (of JSON, XML or gathered CSV rows) to values of ``catalogue.items``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from streams.errors import Reason, RecordError
from streams.sources.availability import can_be_bought, is_shown
from streams.sources.getters import Getter
from streams.sources.html_text import MAX_CHARACTERS, text_of_html
from streams.sources.item_mapping import ItemMapping
from streams.sources.item_prices import holds, moment, money, price_at, span
from streams.sources.source import MAX_IN_ALL, MAX_LINES
from streams.stages.placeholders import is_nothing

RawItem = dict[str, Any]
ItemLine = RawItem | RecordError
"""A value of ``catalogue.items``, or why a line can't be one."""
Get = Callable[[str], Any]
"""The value of a field, by the mapping's name of it."""
MAX_LIST = 200
"""Tags and pictures of an item that are looked at."""
_YES = frozenset({"continue", "true", "yes", "1"})
_NO = frozenset({"deny", "false", "no", "0"})
"""With the words of Shopify's inventory policy."""


class ItemSource:
    """A feed's reader. It never guesses: what it can't read is a RecordError, and leaves the other items as they are."""

    def __init__(self, mapping: ItemMapping) -> None:
        self.name = mapping.name
        self.mapping = mapping
        # All variants of a product have its description.
        self._plain = lru_cache(64)(text_of_html)

    def items(self, record: Any, at_ms: int) -> list[ItemLine]:
        """The items of one record, an object; ``at_ms`` decides about sale prices: it is the record's own time, so that a repeat gives the
        same. Raises RecordError where nothing of the record can be read.
        """
        if type(record) is not dict:
            raise RecordError(Reason.BAD_SHAPE, "the record is not an object")
        split = self.mapping.split
        if split is None or split not in record:
            return self._record(record, at_ms)
        parts = record[split]
        if type(parts) is not list:
            raise RecordError(Reason.BAD_SHAPE, f"{split} of the record is not an array")
        batch = {name: value for name, value in record.items() if name != split}
        found: list[ItemLine] = []
        for part in parts:
            try:
                if type(part) is not dict:
                    raise RecordError(Reason.BAD_SHAPE, "a product of the record is not an object")
                found += self._record({**part, "batch": batch}, at_ms)
            except RecordError as error:
                found.append(error)
            if len(found) > MAX_IN_ALL:
                raise RecordError(Reason.TOO_LARGE, f"the record has more than {MAX_IN_ALL} items")
        return found

    def _record(self, record: RawItem, at_ms: int) -> list[ItemLine]:
        lines: Any = record.get("rows") if self.mapping.gather else None
        for get in self.mapping.lines:
            lines = get(record)
            if lines:
                break
        if not lines:
            return self._distinct([self._line(record, {}, self._shared(record), at_ms)])
        if type(lines) is not list:
            raise RecordError(Reason.BAD_SHAPE, "the lines of the record are not an array")
        if len(lines) > MAX_LINES:
            raise RecordError(Reason.TOO_LARGE, f"the record has {len(lines)} lines; at most {MAX_LINES} are read")
        needs = self.mapping.lines_need
        kept = [line for line in lines if needs is None or not _is_blank(needs(record, line))]
        shared = self._shared(record)
        return self._distinct([self._line(record, line, shared, at_ms) for line in kept])

    def _shared(self, record: RawItem) -> dict[str, list[str]] | RecordError:
        """Lists that all lines have in common; an error is every line's."""
        try:
            return {name: self._list(shared, name, record, record) for name, (_, shared) in self.mapping.lists.items()}
        except RecordError as error:
            return error

    def _line(self, record: RawItem, line: Any, shared: dict[str, list[str]] | RecordError, at_ms: int) -> ItemLine:
        try:
            if type(line) is not dict:
                raise RecordError(Reason.BAD_SHAPE, "a line of the record is not an object")
            if isinstance(shared, RecordError):
                raise shared
            return self._item(record, line, shared, at_ms)
        except RecordError as error:
            return error

    def _distinct(self, lines: list[ItemLine]) -> list[ItemLine]:
        """Each item once; where lines are one item, each fault of it once, too."""
        found: dict[str, RawItem] = {}
        faults: set[str] = set()
        kept: list[ItemLine] = []
        for line in lines:
            if isinstance(line, RecordError):
                if not self.mapping.merges or str(line) not in faults:
                    kept.append(line)
                faults.add(str(line))
            elif (known := found.get(line["item_id"])) is None:
                kept.append(line)
                found[line["item_id"]] = line
            elif self.mapping.merges:
                _merge(known, line)
            else:
                kept.append(RecordError(Reason.DUPLICATE_ITEM, "the record has two items of one id; the first counts"))
        return kept

    def _item(self, record: RawItem, line: RawItem, shared: dict[str, list[str]], at_ms: int) -> RawItem:
        def get(name: str) -> Any:
            getter = self.mapping.getters.get(name)
            return None if getter is None else _one(getter(record, line))

        mapping = self.mapping
        item_id = (_text(get("item"), "item_id") or "").strip()
        if not item_id or is_nothing(item_id) or item_id.lower() in mapping.nothing:
            raise RecordError(Reason.MISSING_ITEM, "the record has no item id where the mapping looks for it")
        titles = {
            language: title for language, getter in mapping.titles.items() if (title := self._said(_one(getter(record, line)), "title"))
        }
        title = self._said(get("title"), "title") or next(iter(titles.values()), "")
        if not title:
            raise RecordError(Reason.BAD_TITLE, "the record has no title where the mapping looks for it")
        price, currency = self._price(get, at_ms)
        lists = {
            name: list(dict.fromkeys([*self._list(of_line, name, record, line), *shared[name]]))
            for name, (of_line, _) in mapping.lists.items()
        }
        return {
            "item_id": item_id,
            "title": title,
            "category": self._said(get("category"), "category"),
            "brand": self._said(get("brand"), "brand"),
            "description": self._said(get("description"), "description"),
            "price": price,
            "currency": currency,
            "in_stock": self._in_stock(get, line),
            "blocked": self._is_hidden(get, record),
            "tags": lists.get("tags", []),
            "updated_at": moment(get("updated"), "updated", mapping.read_time),
            "group_id": (_text(get("group"), "group") or "").strip() or None,
            "titles": titles,
            "image_links": lists.get("images", []),
        }

    def _said(self, value: Any, field: str) -> str | None:
        """A text to be read, without markup."""
        text = _text(value, field)
        if text is not None and field in self.mapping.html:
            text = self._plain(text[:MAX_CHARACTERS])
        text = text.strip() if text is not None else ""
        return text or None

    def _price(self, get: Get, at_ms: int) -> tuple[float | None, str | None]:
        read_number, read_time = self.mapping.read_number, self.mapping.read_time
        regular, sale = (money(get(name), name, read_number) for name in ("price", "sale_price"))
        begin, end = span(get("sale_dates"), "sale_dates", read_time)
        begin = moment(get("sale_begin"), "sale_begin", read_time) if begin is None else begin
        end = moment(get("sale_end"), "sale_end", read_time) if end is None else end
        found = price_at(regular, sale, on_sale=holds(begin, end, at_ms))
        said = (_text(get("currency"), "currency") or "").strip() or None
        if found is None:
            return None, said
        if said is not None and found.currency is not None and said.upper() != found.currency:
            raise RecordError(Reason.BAD_CURRENCY, "the currency beside the price is another than the item's")
        return found.amount, said or found.currency

    def _in_stock(self, get: Get, line: RawItem) -> bool:
        """By a word; and by a number, where the shop keeps one, and does not sell what it does not have."""
        available = can_be_bought(get("availability"), self.mapping.words)
        number = self.mapping.read_number(get("quantity"), "quantity", Reason.BAD_QUANTITY)
        is_counted = _flag(get("tracked"), "tracked") is not False and not _has_null(line, self.mapping.untracked_if_null)
        has_some = number is None or number > 0 or not is_counted or _flag(get("oversell"), "oversell") is True
        return available is not False and has_some

    def _is_hidden(self, get: Get, record: RawItem) -> bool:
        hidden = [is_shown(get(name), self.mapping.words) is False for name in ("state", "published")]
        return any(hidden) or _has_null(record, self.mapping.hidden_if_null)

    def _list(self, getters: Sequence[Getter], name: str, record: RawItem, line: RawItem) -> list[str]:
        """Texts, each once, in order."""
        mark = self.mapping.separators.get(name)
        found: dict[str, None] = {}
        for getter in getters:
            value = getter(record, line)
            for one in (value if type(value) is list else [value])[:MAX_LIST]:
                text = _text(one, name)
                for part in (text.split(mark) if mark is not None else [text]) if text else ():
                    if part.strip():
                        found[part.strip()] = None
        return list(found)[:MAX_LIST]


def _merge(into: RawItem, other: RawItem) -> None:
    """The item is what a shopper can get: the lowest price of the variants that can be bought."""
    cheaper = other["price"] is not None and (into["price"] is None or other["price"] < into["price"])
    if other["in_stock"] > into["in_stock"] or (other["in_stock"] == into["in_stock"] and cheaper):
        into["price"], into["currency"] = other["price"], other["currency"]
    into["in_stock"] |= other["in_stock"]
    into["blocked"] &= other["blocked"]
    into["image_links"] = list(dict.fromkeys(into["image_links"] + other["image_links"]))[:MAX_LIST]
    into["tags"] = list(dict.fromkeys(into["tags"] + other["tags"]))[:MAX_LIST]


def _one(value: Any) -> Any:
    """The first of several."""
    return next((one for one in value if not _is_blank(one)), None) if type(value) is list else value


def _is_blank(value: Any) -> bool:
    return value is None or (type(value) is str and not value.strip())


def _has_null(record: RawItem, names: Sequence[str]) -> bool:
    return any(name in record and record[name] is None for name in names)


def _flag(value: Any, field: str) -> bool | None:
    """None where nothing is said. Raises RecordError."""
    if type(value) is bool:
        return value
    word = (_text(value, field) or "").strip().lower()
    if word and word not in _YES and word not in _NO:
        raise RecordError(Reason.BAD_AVAILABILITY, f"{field} is neither yes nor no")
    return word in _YES if word else None


def _text(value: Any, field: str) -> str | None:
    if type(value) is str or value is None:
        return value
    if type(value) is int:
        return str(value)
    raise RecordError(Reason.UNDECODABLE, f"field {field} has a wrong type: it must be text or a whole number")
