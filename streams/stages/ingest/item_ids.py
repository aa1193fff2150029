"""Item ids of events: in normal form, and none that says something about a person.

An item id is copied to topics that many may read, and a faulty page sends whatever stands in its address line. Where a shop says by a
pattern what its ids look like, nothing else passes. Without one, ids are refused that hold personal data as free text would.
"""

from __future__ import annotations

import re
from typing import NoReturn

from streams.errors import Reason, RecordError
from streams.privacy.check_digits import is_article_number, is_luhn, is_resident_id
from streams.privacy.kinds import KINDS
from streams.privacy.scrub import scrub
from streams.stages.identifiers import item_id

_HELP = "set VEILSTREAM_ITEM_PATTERN if the shop's items have such ids"
_LINK = re.compile(r"(?:[a-z][a-z0-9+.\-]{1,20}://|www\.)[^?#]*[?#]", re.IGNORECASE)
_TOKEN = re.compile(r"(?<![a-z])(?:token|auth|secret|password|passwd|pwd|session(?:_?id)?|sid|jwt|api_?key|signature)[=:]", re.IGNORECASE)
_JWT = re.compile(r"eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.")
_ONLY_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_NOT_LOOKED_FOR = frozenset(KINDS) - {"email", "phone", "id", "card", "ip", "url"}
"""Shops number their goods in ways that free text has for orders, plates and tokens."""
_MOBILE = re.compile(r"(?:86)?1[3-9][0-9]{9}", re.ASCII)
_ABROAD = re.compile(r"00[1-9][0-9]{9,12}", re.ASCII)
_CARD = re.compile(r"4[0-9]{15}|(?:5[1-5]|2[2-7]|62)[0-9]{14}|3[47][0-9]{13}|62[0-9]{17}", re.ASCII)


class ItemIds:
    """Reads item ids; with a pattern, ids must match it from beginning to end.

    >>> ItemIds()(" 84029E "), ItemIds("[0-9]{11}")("13800138000")
    ('84029E', '13800138000')
    """

    def __init__(self, pattern: str | None = None) -> None:
        """Raises re.error if the pattern is none."""
        self._matches = re.compile(pattern).fullmatch if pattern is not None else None

    def __call__(self, value: str) -> str:
        """The id, NFC and trimmed. Raises RecordError."""
        found = item_id(value)
        if self._matches is not None:
            if self._matches(found) is None:
                raise RecordError(Reason.BAD_ITEM, "item_id does not match VEILSTREAM_ITEM_PATTERN")
        else:
            _refuse_personal(found)
        return found


def _refuse_personal(item: str) -> None:
    if _LINK.search(item) or _TOKEN.search(item) or _JWT.search(item):
        _refuse("is a link with parameters, or holds a token")
    if ", " in item or "，" in item or "\n" in item:
        _refuse("holds a comma, as an address or a sentence does")
    if _is_personal_number(item) if _ONLY_DIGITS.fullmatch(item) else scrub(item, _NOT_LOOKED_FOR)[1]:
        _refuse("looks like a telephone, card or identity number, or a network address")


def _is_personal_number(digits: str) -> bool:
    """Whether bare digits look like a telephone, card or resident number. Stricter than in free text, where few numbers are articles: of
    random ids of 16 digits one in forty is taken for a card, of 11 digits one in thirteen for a telephone."""
    if _MOBILE.fullmatch(digits) or _ABROAD.fullmatch(digits):
        return not is_article_number(digits)
    return is_resident_id(digits) or (_CARD.fullmatch(digits) is not None and is_luhn(digits))


def _refuse(why: str) -> NoReturn:
    raise RecordError(Reason.BAD_ITEM, f"item_id {why}; {_HELP}")
