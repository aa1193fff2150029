"""Telephone numbers that their digits alone don't tell: in Chinese numerals, and local ones after a word for a telephone.

Those that their own digits tell are in ``numbers.py``.
"""

from __future__ import annotations

import re

from streams.privacy.kinds import mark

PHONE = mark("phone")

_ORDINARY = "〇零○一二三四五六七八九"
_NUMERALS = _ORDINARY + "幺两壹贰叁肆伍陆柒捌玖"
_AS_DIGIT = str.maketrans(_NUMERALS, "00" + "0123456789" + "12123456789")
_SPELLED = re.compile(rf"(?<![0-9{_NUMERALS}])[0-9{_NUMERALS}](?:[ \-.]?[0-9{_NUMERALS}]){{6,15}}(?![ \-.]?[0-9{_NUMERALS}])")
_GROUP = re.compile(r"[^ \-.]+")
_NUMERAL = re.compile(rf"[{_NUMERALS}]")
_LONG_DISTANCE = re.compile(r"(?:86)?1[3-9]\d{9}|0[1-9]\d{8,10}|[48]00\d{7}")
_WORD = (
    r"电话|座机|固话|热线|传真|致电|拨打|联系方式|手机号|手机 ?:|(?<![a-z])(?:tel(?:ephone)?(?: ?(?:no|number|nr))?|(?:phone|mobile"
    r"|cell|handy) ?(?:no|number|nr)(?: is)?"
    r"|(?:phone|mobile|cell|handy|ph|mob|m) ?(?=:)|fax|(?:call|ring|text|reach)(?: me| us)?(?: (?:at|on))?|call)(?![a-z])"
)
_SAYS_SO = re.compile(rf"(?:{_WORD})(?:号码?|码)?\.? ?[:#=是为]? ?", re.IGNORECASE)
_PARTS = (
    "电话",
    "座机",
    "固话",
    "热线",
    "传真",
    "致电",
    "拨打",
    "联系",
    "手机",
    "tel",
    "phone",
    "mob",
    "cell",
    "handy",
    "ph",
    "fax",
    "call",
    "ring",
    "text",
    "reach",
    "m:",
    "m :",
)
"""Without one of these, the pattern need not be tried."""
_LOCAL = re.compile(
    r"(?:\d{7,12}|\d{3,4}[\-.]\d{4}|\d{4} \d{4}|\d{3}[ \-.]\d{2}[ \-.]\d{2,3}|\d{3}[\-. ]\d{3}[\-. ]\d{3,4}"
    r"|\(\d{2,4}\) ?\d{3,4}[ \-]?\d{3,4})"
    r"(?: ?(?:转|ext\.?|x) ?\d{1,5})?(?![\d\-.]?\d)(?![a-z])",
    re.IGNORECASE | re.ASCII,
)


def replace_phones(text: str) -> str:
    """The text with such telephone numbers replaced by their mark.

    >>> replace_phones("打一三八零零一三八零零零"), replace_phones("tel 555-1234"), replace_phones("phone 15 128")
    ('打<phone>', 'tel <phone>', 'phone 15 128')
    """
    if _NUMERAL.search(text):
        text = _SPELLED.sub(_spelled, text)
    if not any(map(text.lower().__contains__, _PARTS)):
        return text
    pieces: list[str] = []
    kept = 0
    for says in _SAYS_SO.finditer(text):
        number = _LOCAL.match(text, says.end())
        if number and says.start() >= kept:
            pieces += (text[kept : says.end()], PHONE)
            kept = number.end()
    pieces.append(text[kept:])
    return "".join(pieces)


def _spelled(match: re.Match[str]) -> str:
    """A quantity or a size may stand before or behind the number: whole groups are tried, the longest row of them first."""
    run = match.group()
    places = [match.span() for match in _GROUP.finditer(run)]
    for count in range(len(places), 0, -1):
        for first in range(len(places) - count + 1):
            begin, end = places[first][0], places[first + count - 1][1]
            if _is_spelled(run[begin:end], match.string[: match.start() + begin]):
                return run[:begin] + PHONE + run[end:]
    return run


def _is_spelled(text: str, before: str) -> bool:
    digits = re.sub(r"[ \-.]", "", text.translate(_AS_DIGIT))
    if len(digits) < 7 or len(_NUMERAL.findall(text)) < 3:
        return False
    if _LONG_DISTANCE.fullmatch(digits):
        return True
    near = before[-10:]
    return len(digits) in (7, 8) and any(says.end() == len(near) for says in _SAYS_SO.finditer(near))
