"""Validates an item, and builds the text that the encoder reads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from streams.errors import Reason, RecordError
from streams.serde.records import Item
from streams.stages.identifiers import group_id, item_id
from streams.stages.money import currency, price_band

MAX_TITLE = 512
MAX_CATEGORY = 256
MAX_BRAND = 128
MAX_DESCRIPTION = 4000
MAX_TAGS = 64
MAX_TAG = 64
MAX_LANGUAGES = 50
MAX_IMAGES = 20
MAX_LINK = 2000

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]+")
_SPACES = re.compile(r"\s+")
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
"""A tag of BCP 47."""


def valid_item(key: bytes | None, value: Mapping[str, Any]) -> Item:
    """The item in normal form: NFKC, as the queries that look for it, white space folded, texts cut to their limits.

    Identifiers and prices follow the same rules as those of events, so that events find the item. Raises RecordError if the key is
    not the item's id, there is no title, or id, group, price or currency are invalid.
    """
    identifier = item_id(value["item_id"])
    if item_of_key(key) != identifier:
        raise RecordError(Reason.KEY_MISMATCH, "the message key must be the item_id")
    titles = _titles(value["titles"])
    title = _text(value["title"], MAX_TITLE) or next(iter(titles.values()), "")
    if not title:
        raise RecordError(Reason.BAD_TITLE, "title holds no visible characters")
    price = value["price"]
    if price is not None:
        price_band(price)
    money = (value["currency"] or "").strip()
    return Item(
        item_id=identifier,
        title=title,
        category=_text(value["category"], MAX_CATEGORY),
        brand=_text(value["brand"], MAX_BRAND),
        description=_text(value["description"], MAX_DESCRIPTION),
        price=price,
        currency=currency(money, money) if money else None,
        in_stock=value["in_stock"],
        blocked=value["blocked"],
        tags=[tag for tag in (_text(tag, MAX_TAG) for tag in value["tags"][:MAX_TAGS]) if tag],
        updated_at=value["updated_at"],
        group_id=group_id(value["group_id"]),
        titles=titles,
        image_links=[link for link in value["image_links"] if is_link(link)][:MAX_IMAGES],
    )


def is_link(text: str) -> bool:
    """Whether a text is an absolute address of the web."""
    return text.startswith(("https://", "http://")) and len(text) <= MAX_LINK and text.isprintable() and " " not in text


def _titles(value: Mapping[str, str]) -> dict[str, str]:
    """Titles by language in small letters; what is no language or empty is left out."""
    found = {}
    for language, text in list(value.items())[:MAX_LANGUAGES]:
        title = _text(text, MAX_TITLE)
        if title and LANGUAGE.fullmatch(language):
            found[language.lower()] = title
    return found


def item_of_key(key: bytes | None) -> str:
    """The item id in a message key. Raises RecordError if the key holds none."""
    if key is None:
        raise RecordError(Reason.KEY_MISMATCH, "the message has no key; it must be the item_id")
    try:
        return item_id(key.decode())
    except UnicodeDecodeError:
        raise RecordError(Reason.KEY_MISMATCH, "the message key is not UTF-8; it must be the item_id") from None


def _text(value: str | None, bound: int) -> str:
    if not value:
        return ""
    # Cut first: to normalise a megabyte for one title would slow the stage down.
    text = value[: 4 * bound]
    if not text.isprintable():
        text = _INVISIBLE.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _SPACES.sub(" ", text).strip()[:bound].rstrip()


def band_of(item: Item) -> int | None:
    """The price band of a valid item; None where it has no price."""
    return None if item["price"] is None else price_band(item["price"])


def item_text(item: Item, max_characters: int, language: str | None = None) -> str:
    """Title, category, brand and the beginning of the description, as sentences, in NFKC; at most ``max_characters``.

    The title is that of the language, if the item has one; else ``title``. The others are left out: they would say the same again, with
    more weight than the category, and cut off the description.

    The title comes first, because an encoder cuts the end of a long text. A brand or category that is part of the title is not
    repeated: repeated words would have double weight in the mean over tokens.
    """
    title = item["titles"].get(language, item["title"]) if language is not None else item["title"]
    parts = [title]
    said = title.casefold()
    for part in (item["category"], item["brand"]):
        if part and part.casefold() not in said:
            parts.append(part)
            said = f"{said}. {part.casefold()}"
    if item["description"]:
        parts.append(item["description"])
    text = ". ".join(parts)[:max_characters]
    # Full-width letters and digits are common in Chinese titles, and unknown to most models.
    if not text.isascii():
        text = _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip()[:max_characters]
    return text.rstrip()


def text_hash(text: str) -> str:
    """BLAKE2b-128 of the UTF-8 text, 32 hexadecimal characters."""
    return blake2b(text.encode(), digest_size=16).hexdigest()
