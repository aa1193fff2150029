"""Keeps an event's own identifiers out of its other fields: who is hidden by a pseudonym must not be named by an item or a query.

An id is looked for as a whole word, whatever the case of its letters. Short ids, and short numbers, are words and articles of their own:
user 15036 may well buy item 15036.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_LEAST_CHARACTERS = 4
_LEAST_DIGITS_OF_ITEM = 9
"""Of a number that is refused as an item: as long as a telephone number."""
_LEAST_DIGITS_OF_QUERY = 6
_PLACE = "<id>"
_LONGEST = 256
_AROUND = " +.-_\t\n"


def names_own(item_id: str, own: Iterable[str | None]) -> bool:
    """Whether an item id is, or holds as a whole word, one of the event's own ids.

    >>> names_own("anna.schmidt.1984", ["Anna.Schmidt.1984"]), names_own("cart-s9f3c", ["s9f3c"]), names_own("15036", ["15036"])
    (True, True, False)
    """
    folded = item_id.casefold()
    return any(word in folded and _is_in(folded, word) for word in _item_words(tuple(own)))


def without_own(query: str, own: Iterable[str | None]) -> tuple[str, bool]:
    """The query with ``<id>`` in place of the event's own ids, and whether there were any.

    >>> without_own("orders of anna.schmidt.1984", ["anna.schmidt.1984"]), without_own("annas book", ["anna"])
    (('orders of <id>', True), ('annas book', False))
    """
    found = False
    for word in sorted(_words(own, _LEAST_DIGITS_OF_QUERY), key=len, reverse=True):
        if word in query.casefold():
            query, count = _pattern(word).subn(_PLACE, query)
            found = found or count > 0
    return query, found


def _words(own: Iterable[str | None], least_digits: int) -> list[str]:
    found: list[str] = []
    for one in own:
        if one:
            # The same shoppers and sessions come again; hostile long ids are not kept.
            found += _words_of(one, least_digits) if len(one) <= _LONGEST else _words_of.__wrapped__(one, least_digits)
    return found


def _item_words(own: tuple[str | None, ...]) -> Iterable[str]:
    for one in own:
        if one is not None and len(one) > _LONGEST:
            return _words(own, _LEAST_DIGITS_OF_ITEM)
    return _kept_item_words(own)


@lru_cache(20_000)
def _kept_item_words(own: tuple[str | None, ...]) -> list[str]:
    return _words(own, _LEAST_DIGITS_OF_ITEM)


@lru_cache(20_000)
def _words_of(one: str, least_digits: int) -> tuple[str, ...]:
    # A source's namespace stands before the producer's own id.
    texts = dict.fromkeys((one, one.partition(":")[2]))
    words = [unicodedata.normalize("NFKC", text.strip(_AROUND)[:_LONGEST]).casefold() for text in texts]
    return tuple(word for word in words if len(word) >= (least_digits if word.isdecimal() else _LEAST_CHARACTERS))


def _is_in(text: str, word: str) -> bool:
    return _pattern(word).search(text) is not None


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
