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

_IPV4 = re.compile(r"(?:::(?:ffff:(?:0:)?)?)?(?<![\d.])(?<![vV])((?:\d{1,3}\.){3}\d{1,3})(?![\d]|\.\d)", re.ASCII | re.IGNORECASE)
"""With what makes it one of IPv6, should that stand right after a word."""
_IPV6 = re.compile(
    r"(?<![0-9a-z:.])(?:[0-9a-f:]{1,38}:\d{1,3}(?:\.\d{1,3}){3}(?![0-9a-z:]|\.\d)|[0-9a-f:]{2,39}(?![0-9a-z:]))", re.IGNORECASE | re.ASCII
)
"""The first kind ends with an IPv4 address: ::ffff:10.0.0.1."""


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
    if text.count(":") < 2 or not any(character.isdigit() for character in text):
        return text
    try:
        return text if ipaddress.IPv6Address(text).is_unspecified else IP
    except ValueError:
        return text
