"""Texts of others, fit to be shown: a title may hold characters that turn the line around, or be endless. Pure."""

from __future__ import annotations

from streams.visible_text import visible

MOST = 160


def shown(text: str, most: int = MOST) -> str:
    """One line of at most ``most`` characters, with invisible characters written out.

    >>> shown("a\\u202eb\\n")
    'a\\\\u202eb'
    >>> shown("x" * 9, 4)
    'xxx…'
    """
    line = visible(" ".join(text[: 4 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
