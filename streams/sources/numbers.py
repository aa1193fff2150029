"""Numbers as people write them, by a declared format. Without one only canonical decimals are numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from streams.errors import Reason, RecordError
from streams.serde.json_repairs import MAX_NUMBER_CHARACTERS, canonical_number

ReadNumber = Callable[[Any, str, Reason], float | None]

_SPACES = " \u00a0\u202f\u2009'’"
FORMATS: dict[str, tuple[str, str, str]] = {
    "1299.00": ("", ".", "3"),
    "1299,00": ("", ",", "3"),
    "1,299.00": (",", ".", "3"),
    "1.299,00": (".", ",", "3"),
    "1 299.00": (_SPACES, ".", "3"),
    "1 299,00": (_SPACES, ",", "3"),
    "1'299.00": (_SPACES, ".", "3"),
    "1,29,900.00": (",", ".", "2,3"),
}
"""By example, as a mapping names it: what separates groups, what separates decimals, and how long the inner groups may be."""
_SIGN = r"(?:[A-Z]{3}|[^\W\d_]{1,3}\.?|元|円|원)"
_SIGN_BEFORE = re.compile(rf"^{_SIGN}\s?(?=[-+]?\d)")
_SIGN_AFTER = re.compile(rf"(?<=\d)\s?{_SIGN}$")


def number_reader(example: str | None) -> ReadNumber:
    """A function from a value, a field's name and the reason of a refusal to a number; None for nothing and blank text.

    The function raises RecordError for what is no number in the format. Raises KeyError for a format that is not known.
    """
    if example is None:
        return _canonical
    group, decimal, lengths = FORMATS[example]
    grouped = rf"|\d{{1,3}}(?:[{re.escape(group)}]\d{{{lengths}}})+" if group else ""
    if lengths == "2,3":  # lakh and crore: 12,34,567
        grouped = r"|\d{1,2}(?:,\d{2})*,\d{3}"
    pattern = re.compile(rf"(?P<sign>[+-]?)(?P<whole>\d+{grouped})(?:{re.escape(decimal)}(?P<part>\d+))?", re.ASCII)
    drop = str.maketrans("", "", group)

    def read(value: Any, field: str, reason: Reason) -> float | None:
        if not isinstance(value, str):
            return _given(value, field)
        found = pattern.fullmatch(value) if len(value) <= MAX_NUMBER_CHARACTERS else None
        if found is None:
            plain = _without_currency(unicodedata.normalize("NFKC", value[: 2 * MAX_NUMBER_CHARACTERS]).replace("−", "-").strip())
            if not plain:
                return None
            found = pattern.fullmatch(plain) if len(plain) <= MAX_NUMBER_CHARACTERS else None
        if found is None:
            raise RecordError(reason, f"{field} does not fit the declared number format {example}")
        return float(f"{found['sign']}{found['whole'].translate(drop)}.{found['part'] or '0'}")

    return read


def _canonical(value: Any, field: str, reason: Reason) -> float | None:
    if not isinstance(value, str):
        return _given(value, field)
    return canonical_number(value, field, reason) if value.strip() else None


def _given(value: Any, field: str) -> float | None:
    if value is None or type(value) is float or type(value) is int:
        return value
    raise RecordError(Reason.UNDECODABLE, f"field {field} has a wrong type: it must be a number")


def _without_currency(text: str) -> str:
    """The text without the sign or code of a currency before or after it."""
    while text and unicodedata.category(text[0]) == "Sc":
        text = text[1:].lstrip()
    while text and unicodedata.category(text[-1]) == "Sc":
        text = text[:-1].rstrip()
    return _SIGN_AFTER.sub("", _SIGN_BEFORE.sub("", text))
