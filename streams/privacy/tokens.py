"""Secrets of programs that people copy with a link: JSON Web Tokens, keys with a known beginning, long hexadecimal numbers.

A UUID is not one: shops have them as item ids.
"""

from __future__ import annotations

import re

from streams.privacy.kinds import mark

TOKEN = mark("token")

_JWT = re.compile(r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?", re.ASCII)
_KEY = re.compile(
    r"(?<![A-Za-z0-9_\-])(?:[sr]k[_\-](?:live_|test_|proj-|ant-)?[A-Za-z0-9]{20,}|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_]{20,}|AKIA[0-9A-Z]{16,}|AIza[A-Za-z0-9_]{30,}|xox[abeprs]-[0-9]{8,}[A-Za-z0-9\-]{8,})",
    re.ASCII,
)
_NAMED = re.compile(
    r"((?<![a-z])(?:bearer|(?:access[_ \-]?|auth[_ \-]?|refresh[_ \-]?)?token|api[_ \-]?key|secret(?:[_ \-]?key)?|access[_ \-]?key"
    r"|密钥|令牌)"
    r"(?: ?[:=] ?| ))([A-Za-z0-9_.~+/\-]{16,}={0,2})",
    re.IGNORECASE | re.ASCII,
)
"""The second group must hold a digit: "secret garden-colouring-book" is goods."""
_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32,}(?![0-9A-Za-z])", re.ASCII)
_DIGIT, _LETTER = re.compile(r"[0-9]"), re.compile(r"[A-Za-z]")


def replace_tokens(text: str) -> str:
    """The text with its secrets replaced by their mark.

    >>> replace_tokens("see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl please")  # pragma: allowlist secret
    'see <token> please'
    """
    if "eyJ" in text:
        text = _JWT.sub(TOKEN, text)
    text = _NAMED.sub(_named, text)
    return _HEX.sub(_mixed, _KEY.sub(_mixed, text))


def _named(match: re.Match[str]) -> str:
    return match[1] + TOKEN if _DIGIT.search(match[2]) and _LETTER.search(match[2]) else match.group()


def _mixed(match: re.Match[str]) -> str:
    """Digits alone are some other number, letters alone a word."""
    return TOKEN if _DIGIT.search(match.group()) and _LETTER.search(match.group()) else match.group()
