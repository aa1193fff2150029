"""Check digits of the numbers that personal data and goods carry. All take text of ASCII digits."""

from __future__ import annotations

_DOUBLED = str.maketrans("0123456789", "0246813579")
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_CHECK = "10X98765432"


def is_luhn(digits: str) -> bool:
    """Payment cards (ISO/IEC 7812-1, annex B).

    >>> is_luhn("4111111111111111"), is_luhn("4111111111111112")
    (True, False)
    """
    # Every second digit from the right counts double, less nine where that has two digits.
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def is_resident_id(text: str) -> bool:
    """Chinese resident id: 17 digits and the check character of GB 11643-1999 (ISO 7064 MOD 11-2), with a possible birth date.

    >>> is_resident_id("11010519491231002X"), is_resident_id("110105194912310021")
    (True, False)
    """
    if len(text) != 18 or not text[:17].isdigit() or text[6:8] not in ("18", "19", "20"):
        return False
    if not (1 <= int(text[10:12]) <= 12 and 1 <= int(text[12:14]) <= 31):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _RESIDENT_WEIGHTS, strict=True))
    return _RESIDENT_CHECK[total % 11] == text[17].upper()


def is_article_number(digits: str) -> bool:
    """ISBN-10 (ISO 2108), UPC-A, EAN-13 and with it ISBN-13 (GS1 check digit).

    >>> is_article_number("0306406152"), is_article_number("9783161484100"), is_article_number("036000291452")
    (True, True, True)
    """
    if len(digits) in (12, 13):
        return sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits.zfill(13))) % 10 == 0
    if len(digits) == 10:
        return sum(int(digit) * (10 - index) for index, digit in enumerate(digits)) % 11 == 0
    return False
