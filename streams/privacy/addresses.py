"""E-mail addresses, IP addresses, and addresses of web pages that carry credentials."""

from __future__ import annotations

import ipaddress
import re

EMAIL, IP, URL = "<email>", "<ip>", "<url>"

_URL = re.compile(r"(?<![a-z])[a-z][a-z0-9+.\-]{0,30}://(?:[^\s/@]{1,256}@)?[!-~]*", re.IGNORECASE | re.ASCII)
_SECRET = re.compile(r"[?&;#](?:[a-z_\-]*(?:token|passw(?:or)?d|pwd|secret|api_?key|auth|session|sid))=", re.IGNORECASE)

_AT = re.compile(r"[ \t]?@[ \t]?")
_REVERSED_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\-\u00c0-\u024f]{1,64}|\"[^\"\s]{1,64}\"|\w{1,64}")
_DOMAIN = re.compile(r"\[?[A-Za-z0-9.\-\u00c0-\u024f]{1,253}\]?")
_ANY_DOMAIN = re.compile(r"[\w\-]{1,63}(?:\.[\w\-]{1,63})+")

_SPELLED_AT = re.compile(
    r"[ ]?(?:[(\[{<] ?at ?[)\]}>]|_at_|艾特|＠) ?|(?<=[A-Za-z0-9]) at (?=[A-Za-z0-9\-]{1,63} (?:dot|\(dot\)|\[dot\]) )", re.IGNORECASE
)
_SPELLED_LOCAL = re.compile(r"[A-Za-z0-9_+\-]{1,64}(?:(?:\.| ?[)\]]tod[(\[] ?| tod )[A-Za-z0-9_+\-]{1,64}){0,3}", re.IGNORECASE | re.ASCII)
_SPELLED_DOT = r"(?: ?(?:\.|[(\[{<] ?(?:dot|\.) ?[)\]}>]|_dot_|点) ?| dot )"
_SPELLED_DOMAIN = re.compile(
    rf"[A-Za-z0-9\-]{{1,63}}(?:{_SPELLED_DOT}[A-Za-z0-9\-]{{1,63}}){{0,3}}?{_SPELLED_DOT}"
    r"(?:com|net|org|edu|gov|info|biz|io|co|me|app|dev|cn|hk|tw|jp|kr|sg|my|in|au|nz|uk|ie|de|at|ch|fr|it|es|pt|nl|be|lu|se|no|dk|fi|pl|cz|ru|us|ca|eu)"
    rf"(?:{_SPELLED_DOT}(?:cn|uk|au|nz|jp|hk|tw|in|br|za))?(?![A-Za-z0-9\-])",
    re.IGNORECASE | re.ASCII,
)
_PERCENT = re.compile(r"%(?:25)?40(?=([A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,4}))", re.ASCII)
_PERCENT_LOCAL = re.compile(r"(?:B2%|[A-Za-z0-9._+\-]){1,64}", re.IGNORECASE | re.ASCII)
"""Read backwards; %2B is a plus."""

_IPV4 = re.compile(r"(?:::(?:ffff:(?:0:)?)?)?(?<![\d.])(?<![vV])((?:\d{1,3}\.){3}\d{1,3})(?![\d]|\.\d)", re.ASCII | re.IGNORECASE)
"""With what makes it one of IPv6, should that stand right after a word."""
_IPV6 = re.compile(
    r"(?:(?<![0-9a-z:.])|(?<=[g-z]:)|(?<=v6:))(?:[0-9a-f:]{1,38}:\d{1,3}(?:\.\d{1,3}){3}(?![0-9a-z:]|\.\d)|[0-9a-f:]{2,39}(?![0-9a-z:]))",
    re.IGNORECASE | re.ASCII,
)
"""The first kind ends with an IPv4 address: ::ffff:10.0.0.1. A word and a colon may come before it: "IPv6:2001:db8::1"."""


def replace_urls(text: str) -> str:
    """Addresses with a user name before the host, or with a token or password among their parameters."""
    return _URL.sub(_url, text)


def replace_emails(text: str) -> str:
    """E-mail addresses, also between words without spaces, as in Chinese, and with a space around the ``@``."""
    pieces: list[str] = []
    kept = 0
    for at in _AT.finditer(text):
        if at.start() < kept:
            continue
        spaced = len(at.group()) > 1
        local = _REVERSED_LOCAL.match(text[max(kept, at.start() - 66) : at.start()][::-1])
        domain = _DOMAIN.match(text, at.end())
        end = domain.end() if domain and _is_domain(domain.group(), local.group() if local and not spaced else "") else 0
        if not end and not spaced:
            foreign = _ANY_DOMAIN.match(text, at.end())
            end = foreign.end() if foreign and not foreign.group().isascii() else 0
        if local and end:
            pieces += (text[kept : at.start() - local.end()], EMAIL)
            kept = end
    pieces.append(text[kept:])
    return "".join(pieces)


def replace_spelled_emails(text: str) -> str:
    """Addresses that hide from programs: ``anna (at) example (dot) com``, ``anna at example dot com``, ``anna艾特qq点com``.

    The last part must be a usual top-level domain, because "girl at polka dot dress" is goods.
    """
    pieces: list[str] = []
    kept = 0
    for at in _SPELLED_AT.finditer(text):
        if at.start() < kept:
            continue
        local = _SPELLED_LOCAL.match(text[max(kept, at.start() - 80) : at.start()][::-1])
        domain = _SPELLED_DOMAIN.match(text, at.end())
        if local and domain:
            pieces += (text[kept : at.start() - local.end()], EMAIL)
            kept = domain.end()
    pieces.append(text[kept:])
    return "".join(pieces)


def replace_percent_emails(text: str) -> str:
    """Addresses within links, whose ``@`` is written as %40 (or as %2540, where a link is within a link)."""
    pieces: list[str] = []
    kept = 0
    for at in _PERCENT.finditer(text):
        local = _PERCENT_LOCAL.match(text[max(kept, at.start() - 64) : at.start()][::-1]) if at.start() >= kept else None
        if local:
            pieces += (text[kept : at.start() - local.end()], EMAIL)
            kept = at.end(1)
    pieces.append(text[kept:])
    return "".join(pieces)


def replace_ips(text: str) -> str:
    """IPv4 addresses (but not a version such as v1.2.3.4) and IPv6 addresses."""
    if ":" in text:
        text = _IPV6.sub(_ipv6, text)
    return _IPV4.sub(_ipv4, text)


def _url(match: re.Match[str]) -> str:
    text = match.group()
    authority = re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]
    return URL if "@" in authority or _SECRET.search(text) else text


def _is_domain(domain: str, reversed_local: str) -> bool:
    labels = domain.strip("[].-").split(".")
    if len(labels) == 1:
        # "4k@60hz" is a picture format, "anna@intranet" an address.
        return len(labels[0]) > 1 and labels[0].isalpha() and reversed_local[-1:].isalpha()
    if len(labels) == 4 and all(label.isdigit() for label in labels):
        return True
    return any((len(label) > 1 and label.isalpha()) or label[:4].lower() == "xn--" for label in labels[1:])


def _ipv4(match: re.Match[str]) -> str:
    return IP if all(int(part) <= 255 for part in match.group(1).split(".")) else match.group()


def _ipv6(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] == ":" and text[1] != ":":
        return ":" + _ipv6_mark(text[1:])
    return _ipv6_mark(text)


def _ipv6_mark(text: str) -> str:
    """Letters and colons alone may be words, unless there are eight of them or they begin as mapped addresses do."""
    if text.count(":") < 2:
        return text
    if not any(character.isdigit() for character in text) and text.count(":") != 7 and not text.lower().startswith("::ffff:"):
        return text
    try:
        return text if ipaddress.IPv6Address(text).is_unspecified else IP
    except ValueError:
        return text
