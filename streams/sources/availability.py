"""Whether an item can be bought, in the words that feeds use for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from streams.errors import Reason, RecordError

_CAN_BE_BOUGHT = (
    *("in stock", "available", "available for order", "in store only", "online only", "limited availability", "low stock", "made to order"),
    *("preorder", "pre order", "presale", "pre sale", "backorder", "back order", "backordered", "true", "yes", "y", "1", "on"),
    *("有货", "现货", "有库存", "在售", "预售", "预订", "有貨", "現貨"),
)
_CAN_NOT = (
    *("out of stock", "sold out", "unavailable", "not available", "discontinued", "reserved", "false", "no", "n", "0", "off"),
    *("缺货", "无货", "无库存", "售罄", "下架", "已下架", "缺貨", "無貨"),
)
_SHOWN = ("active", "published", "enabled", "visible", "online", "live", "public", "true", "yes", "y", "1", "上架", "在售")
_HIDDEN = (
    *("draft", "archived", "inactive", "unpublished", "disabled", "hidden", "offline", "private", "unlisted", "deleted", "trash"),
    *("pending", "false", "no", "n", "0", "下架", "草稿"),
)
_MARKS = re.compile(r"[\s_\-]+")
_SCHEMA_ORG = re.compile(r"^https?://(?:www\.)?schema\.org/", re.IGNORECASE)


def _plain(word: str) -> str:
    return _MARKS.sub("", _SCHEMA_ORG.sub("", word.strip())).lower()


def _table(yes: tuple[str, ...], no: tuple[str, ...]) -> dict[str, bool]:
    return {**{_plain(word): True for word in yes}, **{_plain(word): False for word in no}}


_AVAILABILITY = _table(_CAN_BE_BOUGHT, _CAN_NOT)
_STATES = _table(_SHOWN, _HIDDEN)
MAX_WORD = 64


def own_words(words: Mapping[str, bool]) -> dict[str, bool]:
    """A mapping's own words, in the form in which they are looked up."""
    return {_plain(word): can for word, can in words.items()}


def can_be_bought(value: Any, own: Mapping[str, bool]) -> bool | None:
    """None where nothing is said. What can be ordered now (preorder, backorder) can be bought. Raises RecordError for other words.

    >>> [can_be_bought(word, {}) for word in ("in stock", "out_of_stock", "https://schema.org/PreOrder", "缺货", " ")]
    [True, False, True, False, None]
    """
    return _looked_up(value, own, _AVAILABILITY, "availability")


def is_shown(value: Any, own: Mapping[str, bool]) -> bool | None:
    """Whether the shop shows an item of this state (active, draft, archived). None and errors as above."""
    return _looked_up(value, own, _STATES, "state")


def _looked_up(value: Any, own: Mapping[str, bool], table: Mapping[str, bool], field: str) -> bool | None:
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        value = str(value)
    if type(value) is str and len(value) <= MAX_WORD:
        word = _plain(value)
        if not word:
            return None
        found = own.get(word, table.get(word))
        if found is not None:
            return found
    raise RecordError(Reason.BAD_AVAILABILITY, f"{field} is no word that is known; declare it in `words:` of the mapping")
