"""Removes personal data from free text.

Removed are the kinds of ``kinds.py``: what its own form tells (e-mail addresses, telephone numbers, Chinese resident ids, payment cards,
IP addresses, web addresses with credentials, tokens, postal addresses, Chinese licence plates), and what a word beside it tells (names,
handles, papers, orders, accounts, local telephone numbers). Kept: part numbers, article numbers, sizes, prices and dates.

A text without anything suspicious costs a few searches (``suspects.py``). All patterns are bounded. None has a repetition within a
repetition over the same characters, so no text makes them slow.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set

from streams.privacy.addresses import replace_emails, replace_ips, replace_percent_emails, replace_spelled_emails, replace_urls
from streams.privacy.handles import replace_handles
from streams.privacy.kinds import NONE
from streams.privacy.names import replace_names
from streams.privacy.numbers import replace_numbers
from streams.privacy.papers import replace_papers
from streams.privacy.phones import replace_phones
from streams.privacy.places import replace_addresses
from streams.privacy.suspects import is_suspect, may_hide
from streams.privacy.tokens import replace_tokens

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


def scrub(text: str, off: Set[str] = NONE) -> tuple[str, bool]:
    """The text without personal data of all kinds but for ``off``, and whether anything was taken out.

    Where something was, the text comes back in Unicode's compatibility form (NFKC), without invisible characters.

    >>> scrub("red shoes for anna@example.com")
    ('red shoes for <email>', True)
    >>> scrub("索尼耳机 联系 138-0013-8000")
    ('索尼耳机 联系 <phone>', True)
    >>> scrub("ISBN 978-3-16-148410-0")
    ('ISBN 978-3-16-148410-0', False)
    >>> scrub("收件人张伟 京A12345", frozenset({"name"}))
    ('收件人张伟 <plate>', True)
    """
    is_printable = text.isprintable()
    if is_printable and text.isascii():
        plain = text
    elif is_printable and not may_hide(text):
        return text, False
    else:
        plain = _plain(text)
    if not is_suspect(plain):
        return text, False
    result = _replace(plain, off)
    if result == plain:
        return text, False
    # What was taken out may have stood between the parts of something else.
    for _ in range(_MOST_PASSES):
        again = _replace(result, off)
        if again == result:
            break
        result = again
    return result, True


def _plain(text: str) -> str:
    """The text as it looks: without invisible characters, digits, dashes and dots of all scripts as ASCII ones."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    plain = _SPACE.sub(" ", _DOT.sub(".", _DASH.sub("-", plain)))
    return _OTHER_DIGIT.sub(lambda match: str(unicodedata.digit(match.group())), plain)


def _replace(text: str, off: Set[str]) -> str:
    """The longest and surest kinds come first. Names come last, for a mark behind them tells where they end."""
    if "://" in text and "url" not in off:
        text = replace_urls(text)
    if "%" in text and "email" not in off:
        text = replace_percent_emails(text)
    if "token" not in off:
        text = replace_tokens(text)
    if "email" not in off:
        if "@" in text:
            text = replace_emails(text)
        text = replace_spelled_emails(text)
    if ("." in text or ":" in text) and "ip" not in off:
        text = replace_ips(text)
    if "address" not in off:
        text = replace_addresses(text)
    text = replace_numbers(replace_papers(text, off), off)
    if "phone" not in off:
        text = replace_phones(text)
    if "handle" not in off:
        text = replace_handles(text)
    return text if "name" in off else replace_names(text)
