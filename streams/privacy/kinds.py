"""The kinds of personal data that scrubbing knows. Each one's mark in a text is its name in angle brackets."""

from __future__ import annotations

from collections.abc import Set

KINDS = ("email", "phone", "id", "card", "ip", "url", "handle", "address", "name", "plate", "document", "order", "token")
NONE: frozenset[str] = frozenset()


def mark(kind: str) -> str:
    """What stands in a text in place of personal data.

    >>> mark("email")
    '<email>'
    """
    return f"<{kind}>"


def kinds_of(text: str) -> Set[str]:
    """Kinds from a comma-separated list. Raises ValueError, which lists the kinds, if one is unknown.

    >>> sorted(kinds_of("name, Plate,")), sorted(kinds_of(""))
    (['name', 'plate'], [])
    """
    found = frozenset(filter(None, (part.strip().lower() for part in text.split(","))))
    if unknown := sorted(found.difference(KINDS)):
        raise ValueError(f"has no kind {', '.join(map(repr, unknown))}; the kinds are {', '.join(KINDS)}")
    return found
