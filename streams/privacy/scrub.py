"""Removes personal data from free text.

Removed: e-mail addresses, phone numbers, Chinese resident ids, payment cards, IP addresses, and web addresses with credentials.
Kept: part numbers, article numbers, sizes, prices and dates.

A text without anything suspicious costs one or two searches. All patterns are bounded. None has a repetition within a repetition over the
same characters, so no text makes them slow.
"""

from __future__ import annotations

import re
import unicodedata

from streams.privacy.addresses import replace_emails, replace_ips, replace_urls
from streams.privacy.numbers import replace_numbers

_HIDES = re.compile(r"[@＠﹫:：\d\u00b2\u00b3\u00b9\u2070-\u209c\u2460-\u24ff\u2776-\u2793\u3251-\u32bf]")
"""What a text must hold for a closer look: digits in any guise, @ and colons."""
_SUSPECT = re.compile(r"@|://|\d(?:[ \t.\-()/+_]{0,3}\d){6}|\d\.\d{1,3}\.\d{1,3}\.\d|[0-9a-f]:[0-9a-f:]", re.IGNORECASE | re.ASCII)
_INVISIBLE = re.compile(
    r"(?<=\d)[\u0300-\u036f\u20d0-\u20ff\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\ufeff\u00ad]+"
    r"|[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_DASH = re.compile(r"[\u2010-\u2015\u2043\u2212\ufe58\ufe63]")
_DOT = re.compile(r"[\u00b7\u2022\u2024\u2027\u22c5\u30fb]")
_SPACE = re.compile(r"[^\S \n]+")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_MOST_PASSES = 8


def scrub(text: str) -> tuple[str, bool]:
    """The text without personal data, and whether anything was taken out.

    Where something was, the text comes back in Unicode's compatibility form (NFKC), without invisible characters.

    >>> scrub("red shoes for anna@example.com")
    ('red shoes for <email>', True)
    >>> scrub("索尼耳机 联系 138-0013-8000")
    ('索尼耳机 联系 <phone>', True)
    >>> scrub("ISBN 978-3-16-148410-0")
    ('ISBN 978-3-16-148410-0', False)
    """
    printable = text.isprintable()
    if printable and not _HIDES.search(text):
        return text, False
    plain = text if printable and text.isascii() else _plain(text)
    if not _SUSPECT.search(plain):
        return text, False
    result = _replace(plain)
    if result == plain:
        return text, False
    # What was taken out may have stood between the parts of something else.
    for _ in range(_MOST_PASSES):
        again = _replace(result)
        if again == result:
            break
        result = again
    return result, True


def _plain(text: str) -> str:
    """The text as it looks: without invisible characters, digits, dashes and dots of all scripts as ASCII ones."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    plain = _SPACE.sub(" ", _DOT.sub(".", _DASH.sub("-", plain)))
    return _OTHER_DIGIT.sub(lambda match: str(unicodedata.digit(match.group())), plain)


def _replace(text: str) -> str:
    if "://" in text:
        text = replace_urls(text)
    if "@" in text:
        text = replace_emails(text)
    if "." in text or ":" in text:
        text = replace_ips(text)
    return replace_numbers(text)
