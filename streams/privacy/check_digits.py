"""Check digits of personal numbers and article numbers. All functions take text of ASCII digits."""

from __future__ import annotations

from stdnum import ean, isbn, luhn
from stdnum.iso7064 import mod_11_2


def is_luhn(digits: str) -> bool:
    """Payment cards (ISO/IEC 7812-1, annex B).

    >>> is_luhn("4111111111111111"), is_luhn("4111111111111112")
    (True, False)
    """
    return bool(luhn.is_valid(digits))


def is_resident_id(text: str) -> bool:
    """Chinese resident id: 17 digits and the check character of GB 11643-1999 (ISO 7064 MOD 11-2), with a possible birth date.

    Not ``stdnum.cn.ric``, which knows the counties of today: an id of a county that was renamed is an id all the same.

    >>> is_resident_id("11010519491231002X"), is_resident_id("110105194912310021")
    (True, False)
    """
    if len(text) != 18 or not text[:17].isdigit() or text[6:8] not in ("18", "19", "20"):
        return False
    if not (1 <= int(text[10:12]) <= 12 and 1 <= int(text[12:14]) <= 31):
        return False
    return bool(mod_11_2.is_valid(text.upper()))


def is_article_number(digits: str) -> bool:
    """ISBN-10 (ISO 2108), UPC-A, EAN-13 and with it ISBN-13 (GS1 check digit).

    >>> is_article_number("0306406152"), is_article_number("9783161484100"), is_article_number("036000291452")
    (True, True, True)
    """
    if len(digits) in (12, 13):
        return bool(ean.is_valid(digits))
    return len(digits) == 10 and bool(isbn.is_valid(digits))
