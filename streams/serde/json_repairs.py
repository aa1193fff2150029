"""Values of producers' JSON that are not of the schema's type and still mean one thing only: whole numbers as ids, decimals as text.

What could mean two things is refused, with a reason that says so. Nothing here ever turns a value into another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from streams.errors import Reason, RecordError

Repair = Callable[[Any], Any]

MAX_NUMBER_CHARACTERS = 48

_CANONICAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}", re.ASCII)
"""1.299 is less than two in London and a month's rent in Berlin."""
_LIKE_A_NUMBER = re.compile(r"[\d\s.,'’٫٬+\-−–()%]*\d[\d\s.,'’٫٬+\-−–()%]*")
_CURRENCY_SIGNS = re.compile(r"[A-Za-z]{0,3}[$€£¥￥₩₹₽₺₴₫฿₪元円원złkrKčFt]{0,2}")


def canonical_number(text: str, field: str, reason: Reason) -> float:
    """The number that a text spells as JSON would: 2, 2.0, -12.50. White space around it does not count.

    Raises RecordError with the reason; the detail tells what another number format would read from what is no number at all.

    >>> canonical_number("12.50", "price", Reason.BAD_PRICE)
    12.5
    """
    plain = text.strip()
    if len(plain) <= MAX_NUMBER_CHARACTERS and _CANONICAL.fullmatch(plain):
        if _THOUSANDS.fullmatch(plain):
            raise RecordError(reason, f"{field} is ambiguous: a point before three digits; {_DECLARE}")
        return float(plain)
    if is_number_elsewhere(plain):
        raise RecordError(reason, f"{field} is ambiguous: it is written in a number format that is not declared; {_DECLARE}")
    raise RecordError(reason, f"{field} is not a number")


_DECLARE = "send a JSON number, or declare `number:` in the mapping of the source"


def is_number_elsewhere(text: str) -> bool:
    """Whether a text that is no canonical number looks like one of some country."""
    if len(text) > MAX_NUMBER_CHARACTERS:
        return False
    head, tail = 0, len(text)
    while head < tail and not text[head].isdigit() and text[head] not in "+-.,(−":
        head += 1
    while tail > head and not text[tail - 1].isdigit() and text[tail - 1] not in ".,)%":
        tail -= 1
    signs = (text[:head].strip(), text[tail:].strip())
    return all(_CURRENCY_SIGNS.fullmatch(sign) for sign in signs) and _LIKE_A_NUMBER.fullmatch(text[head:tail]) is not None


def whole_number_text(value: Any, field: str) -> str:
    """The text of an id that a producer wrote as a whole number. Raises RecordError for all else: a fraction is no id."""
    if type(value) is int:
        return str(value)
    raise RecordError(Reason.UNDECODABLE, f"field {field} has a wrong type: it must be text or a whole number")


def user_text(value: Any) -> str:
    """As ``whole_number_text``; nothing for null: there may be an anonymous id instead."""
    return "" if value is None else whole_number_text(value, "user_id")


def decimal_text(value: Any, field: str, reason: Reason) -> float | None:
    """The number in a text; None for a blank one. Raises RecordError."""
    if isinstance(value, str):
        return canonical_number(value, field, reason) if value.strip() else None
    raise RecordError(Reason.UNDECODABLE, f"field {field} has a wrong type")


def rank_text(value: Any, field: str) -> int:
    """The whole number in a text, of at most 31 bits. Raises RecordError."""
    if isinstance(value, str) and len(value) <= 11 and re.fullmatch(r"-?(?:0|[1-9][0-9]*)", value.strip(), re.ASCII):
        number = int(value)
        if -(2**31) <= number < 2**31:
            return number
    raise RecordError(Reason.UNDECODABLE, f"field {field} has a wrong type: it must be a whole number")


REPAIRS: Mapping[str, Repair] = {
    "user_id": user_text,
    **{name: partial(whole_number_text, field=name) for name in ("anonymous_id", "item_id", "event_id", "session_id")},
    "price": partial(decimal_text, field="price", reason=Reason.BAD_PRICE),
    "quantity": partial(decimal_text, field="quantity", reason=Reason.BAD_QUANTITY),
    "position": partial(rank_text, field="position"),
}
"""By field of producers' topics."""
