"""Keeps an event's own identifiers out of its other fields: who is hidden by a pseudonym must not be named by an item or a query.

An id is looked for as a whole word, whatever the case of its letters. Short ids, and short numbers, are words and articles of their own:
user 15036 may well buy item 15036.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from streams.privacy.pseudonym import ANONYMOUS

_LEAST_CHARACTERS = 4
_LEAST_DIGITS_OF_ITEM = 9
"""Of a number that is refused as an item: as long as a telephone number."""
_LEAST_DIGITS_OF_QUERY = 6
_PLACE = "<id>"
_LONGEST = 256
_AROUND = " +.-_\t\n"


def own_words(own: str) -> tuple[str, ...]:
    """The words by which an id is found in other fields, folded; none of an id that is too short to name anybody.

    >>> own_words("shop-a:Anna.S"), own_words("u1"), own_words("anonymous:web:9f3c1")
    (('shop-a:anna.s', 'anna.s'), (), ('web:9f3c1', '9f3c1'))
    """
    own = own.removeprefix(ANONYMOUS)
    # A source's namespace stands before the producer's own id.
    texts = dict.fromkeys((own, own.partition(":")[2]))
    words = [unicodedata.normalize("NFKC", text.strip(_AROUND)[:_LONGEST]).casefold() for text in texts]
    return tuple(word for word in words if len(word) >= (_LEAST_DIGITS_OF_QUERY if word.isdecimal() else _LEAST_CHARACTERS))


def names_own(item_id: str, words: Iterable[str]) -> bool:
    """Whether an item id is, or holds as a whole word, one of the words of the event's own ids.

    >>> names_own("anna.schmidt.1984", own_words("Anna.Schmidt.1984")), names_own("15036123", own_words("15036123"))
    (True, False)
    """
    folded = item_id.casefold()
    for word in words:  # a plain loop, since every event comes this way
        if word in folded and not (word.isdecimal() and len(word) < _LEAST_DIGITS_OF_ITEM) and _pattern(word).search(folded) is not None:
            return True
    return False


def without_own(query: str, words: Iterable[str]) -> tuple[str, bool]:
    """The query with ``<id>`` in place of the event's own ids, and whether there were any.

    >>> without_own("orders of anna.schmidt.1984", own_words("anna.schmidt.1984")), without_own("annas book", own_words("anna"))
    (('orders of <id>', True), ('annas book', False))
    """
    found = False
    for word in sorted(words, key=len, reverse=True):
        if word in query.casefold():
            query, count = _pattern(word).subn(_PLACE, query)
            found = found or count > 0
    return query, found


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
