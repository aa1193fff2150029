"""Small pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Written by `make reference` from the code. Change the code, not this page. -->"
_PLAIN_ADDRESS = re.compile(r"(?<![`\w])([a-z0-9-]+://\S*?[^\s.,;:)])(?=[.,;:)]*(?:\s|$))")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; an empty cell stays empty.

    >>> print(table(["a", "b"], [["1|2", ""]]))
    | a | b |
    | --- | --- |
    | 1\\|2 | |
    """
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def names(words: Iterable[str]) -> str:
    """
    >>> names(["ingest", "profile"])
    '`ingest`, `profile`'
    """
    return ", ".join(f"`{word}`" for word in words)


def prose(text: str) -> str:
    """A plain sentence of the code as Markdown: ``<name>`` is no tag, and an address is no link.

    >>> prose("A folder, or s3://bucket/models: <prefix>-<stage>.")
    'A folder, or `s3://bucket/models`: &lt;prefix>-&lt;stage>.'
    """
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _PLAIN_ADDRESS.sub(r"`\1`", part).replace("<", "&lt;") for part in parts)


def anchor(heading: str) -> str:
    """The anchor that GitHub and the site make of a heading.

    >>> anchor("`behaviour.dead-letter`")
    'behaviourdead-letter'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _row(cells: Sequence[str]) -> str:
    return re.sub(r" +\|", " |", f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
