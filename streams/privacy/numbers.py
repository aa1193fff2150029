"""Finds phone numbers, payment cards and Chinese resident ids among the numbers of a text.

The digits of a text come in groups ("+49 171 2345678" has three). A candidate is a row of whole groups. So a quantity or a size next to a
number neither hides it nor is removed with it. The grouping must be one that people use, because a list of sizes is a row of digits too.

Where the form alone is ambiguous (a bare ten-digit number may be a phone or a part), these rules decide:

- Numbers that begin with + or 00, and Chinese mobiles, are phones.
- Numbers with a trunk 0 are phones too, unless the check digit of an article number fits (ISBN, UPC, EAN). One trunk number in eleven,
  written without any separator, passes for an article number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import NamedTuple

from streams.privacy.check_digits import is_article_number, is_luhn, is_resident_id
from streams.privacy.kinds import NONE, mark

PHONE, RESIDENT_ID, CARD = mark("phone"), mark("id"), mark("card")

_RUN = re.compile(r"\d(?:[ \t.\-()/+_]{0,3}\d){6,}", re.ASCII)
_GROUP = re.compile(r"\d+", re.ASCII)
_X = re.compile(r"[ \-]?[Xx](?![A-Za-z0-9])")
_PLUS = re.compile(r"(?:\+\(?|(?<![A-Za-z0-9])\+ \(?)\Z")
_FRACTION = re.compile(r"[0-9>]\.\Z")
_LETTER_BEFORE = re.compile(r"[A-Za-z][\-_.]?\Z")
_CALL_WORD = re.compile(r"(?:tele?|phone|fon|fax|mobile?|mob|cell|handy|call|text|sms|whatsapp|wechat|wx)[\-_.]?\Z", re.IGNORECASE)
_LETTER = re.compile(r"[A-Za-z]")
_DATE = re.compile(
    r"(?:19|20)\d\d([\-./ ])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])([\-./ ])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d(?!\d)",
    re.ASCII,
)
_SPACED_ARTICLE = re.compile(r"\d([ \-])(?:\d{6}\1\d{6}|\d{5}\1\d{5}\1\d)(?!\d)", re.ASCII)
_TIMESTAMP = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\d")
# First digits and lengths of the large card networks.
_NETWORK = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,16}|35\d{14,17}|6[0245]\d{14,17}"
)
_MOBILE = re.compile(r"(?:86)?1[3-9]\d{9}")

_MOST_DIGITS = 19
_MOBILE_SHAPES = frozenset({(11,), (3, 4, 4), (3, 8), (7, 4), (5, 6), (3, 2, 2, 2, 2)})
_SERVICE_SHAPES = frozenset({(3, 3, 4), (3, 4, 3), (3, 7)})
_CENTURIES = ("18", "19", "20")
_CARD_BEGINNINGS = (1, 4, 6, 8)
_CARD_SHAPES = frozenset({(4, 6, 5), (4, 6, 4), (8, 8), (6, 13), (6, 10), (4, 12)})


class _Group(NamedTuple):
    start: int
    end: int
    digits: str


class _Row(NamedTuple):
    """A candidate: groups ``first`` to ``last`` and how they stand in the text."""

    digits: str
    shape: tuple[int, ...]
    separators: frozenset[str]
    plus: bool
    alone: bool
    """No other digits stand beside it."""
    fraction: bool
    joined: bool
    followed_by_x: bool


def replace_numbers(text: str, off: Set[str] = NONE) -> str:
    """The text with phone numbers, cards and resident ids, but for kinds in ``off``, replaced by their marks. ASCII digits only."""
    pieces: list[str] = []
    kept = 0
    for run in _RUN.finditer(text):
        groups = [_Group(*match.span(), match.group()) for match in _GROUP.finditer(text, run.start(), run.end())]
        first = 0
        while first < len(groups):
            begin = groups[first].start
            plus = _PLUS.search(text, max(0, begin - 3), begin)
            if plus and plus.start() and text[plus.start() - 1].isdigit() and len(groups[first].digits) < 7:
                plus = None  # 8+256 is a size
            if not plus and (end := _harmless_end(text, begin)):
                first = next((i for i in range(first, len(groups)) if groups[i].start >= end), len(groups))
                continue
            found = _longest(text, groups, first, plus is not None)
            if found is None:
                first += 1
                continue
            kind, last, end = found
            if off and kind[1:-1] in off:
                first = last + 1
                continue
            if plus:
                begin = plus.start()
            elif begin and text[begin - 1] == "(" and ")" in text[begin:end]:
                begin -= 1
            pieces += (text[kept : max(kept, begin)], kind)
            kept = end
            first = last + 1
    pieces.append(text[kept:])
    return "".join(pieces)


def _harmless_end(text: str, begin: int) -> int:
    """Where the date or the spaced article number that begins here ends; 0 if there is none."""
    date = _DATE.match(text, begin)
    if date:
        return date.end()
    article = _SPACED_ARTICLE.match(text, begin)
    return article.end() if article and is_article_number("".join(filter(str.isdigit, article.group()))) else 0


def _longest(text: str, groups: Sequence[_Group], first: int, plus: bool) -> tuple[str, int, int] | None:
    """Mark, last group and end of the number that begins with a group; a row that ends at a letter ("128gb") comes last."""
    if not plus and _within_single_digits(groups, first):
        return None
    begin = groups[first].start
    size = groups[first].end - begin
    fraction = _FRACTION.search(text, max(0, begin - 2), begin) is not None
    before = _LETTER_BEFORE.search(text, max(0, begin - 2), begin) and not _CALL_WORD.search(text, max(0, begin - 10), begin)
    digits = ""
    rows: list[tuple[bool, int, str]] = []
    for last in range(first, len(groups)):
        if last > first and "+" in text[groups[last - 1].end : groups[last].start]:
            break
        digits += groups[last].digits
        if len(digits) > _MOST_DIGITS:
            break
        if len(digits) >= 8 and (plus or _may_be_personal(digits, size, last - first + 1)):
            rows.append((_LETTER.match(text, groups[last].end) is not None, -last, digits))
    for after, negative, row_digits in sorted(rows):
        last = -negative
        end = groups[last].end
        x = _X.match(text, end) if len(row_digits) == 17 else None
        row = _Row(
            row_digits,
            tuple(len(group.digits) for group in groups[first : last + 1]),
            frozenset(text[left.end : right.start] for left, right in zip(groups[first:last], groups[first + 1 : last + 1], strict=True)),
            plus,
            first == 0 and last + 1 == len(groups),
            fraction,
            bool(before) or (after and (last == first or groups[last].end - groups[last].start < 4)),
            x is not None,
        )
        found = _mark(row)
        if found is not None:
            return found, last, x.end() if x and found == RESIDENT_ID else end
    return None


def _within_single_digits(groups: Sequence[_Group], first: int) -> bool:
    """True for a digit that stands alone between others that do, unless a mobile number may begin with it."""
    if first == 0 or first + 1 == len(groups):
        return False
    before, own, after = groups[first - 1 : first + 2]
    alone = len(before.digits) == len(own.digits) == len(after.digits) == 1
    return alone and not (own.digits == "1" and after.digits in "3456789")


def _may_be_personal(digits: str, size: int, count: int) -> bool:
    """What a look at length, first digits and the size of the first of ``count`` groups leaves over."""
    if len(digits) >= 13:
        birth = len(digits) in (17, 18) and digits[6:8] in _CENTURIES
        return birth or count == 1 or size in _CARD_BEGINNINGS or digits[:2] in ("00", "86") or _NETWORK.fullmatch(digits) is not None
    if digits[0] == "0":
        return count <= 5
    return len(digits) in (10, 11)


def _mark(row: _Row) -> str | None:
    digits = row.digits
    if is_resident_id(digits) or (row.followed_by_x and is_resident_id(digits + "X")):
        return RESIDENT_ID
    if (row.plus and len(digits) <= 15 and digits[0] != "0") or _is_chinese_mobile(row):
        return PHONE
    if len(digits) >= 13 and _has_card_form(row) and (is_luhn(digits) or _is_union_pay(row)):
        return CARD
    if row.fraction or row.joined:
        return None
    return PHONE if _has_phone_form(row) else None


def _is_chinese_mobile(row: _Row) -> bool:
    if len(row.digits) not in (11, 13) or not _MOBILE.fullmatch(row.digits):
        return False
    shape = row.shape
    if len(row.digits) == 13:
        shape = shape[1:] if shape[0] == 2 else (shape[0] - 2, *shape[1:])
    if shape in _MOBILE_SHAPES or max(shape) == 1:
        return True
    return _has_dashes(row) or (len(row.separators) == 1 and max(shape) <= 2)


def _has_card_form(row: _Row) -> bool:
    digits, shape = row.digits, row.shape
    if digits[0] == "0" or (len(digits) == 13 and is_article_number(digits)):
        return False
    if len(shape) == 1:
        known = _NETWORK.fullmatch(digits) is not None
        return known or not (row.fraction or row.joined or _TIMESTAMP.fullmatch(digits))
    in_fours = all(size == 4 for size in shape[:-1]) and shape[-1] <= 4
    usual = (in_fours and len(row.separators) == 1 and digits[0] not in "01") or shape in _CARD_SHAPES or max(shape) == 1
    return usual or (_has_dashes(row) and _NETWORK.fullmatch(digits) is not None)


def _is_union_pay(row: _Row) -> bool:
    """Cards of UnionPay whose check digit is another than Luhn's, as of several banks: 62 and 19 digits, or 16 and more in fours."""
    digits, shape = row.digits, row.shape
    if not digits.startswith("62") or row.fraction or row.joined:
        return False
    return len(digits) == 19 if len(shape) == 1 else len(digits) >= 16 and len(row.separators) == 1 and set(shape[:-1]) == {4}


def _has_dashes(row: _Row) -> bool:
    """One kind of dash between all groups: a list of sizes has spaces."""
    return len(row.separators) == 1 and row.separators <= {"-", "_"}


def _has_phone_form(row: _Row) -> bool:
    digits, shape = row.digits, row.shape
    bare = len(shape) == 1
    if bare and is_article_number(digits):
        return False
    if digits.startswith("00"):
        return digits[2] != "0" and 10 <= len(digits) <= 17
    if digits[0] == "0":
        if bare:
            return 10 <= len(digits) <= 12
        return shape[0] >= 2 and 9 <= len(digits) <= 12 and len(shape) <= 5 and min(shape[1:]) >= 2
    if row.separators == {" "} and not row.alone:
        return False  # 512 256 1024 128
    if shape in _SERVICE_SHAPES and digits[:3] in ("400", "800"):
        return True
    if shape == (5, 5):
        return digits[0] in "6789"  # India
    american = digits[1:] if shape == (1, 3, 3, 4) and digits[0] == "1" else digits
    return shape in ((3, 3, 4), (1, 3, 3, 4)) and len(american) == 10 and american[0] in "23456789" and american[3] in "23456789"
