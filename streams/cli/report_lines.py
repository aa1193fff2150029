"""The lines that every report on a file's records has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from streams.producers.csv_rows import ReadReport


def share(part: int, whole: int) -> str:
    """In percent, and how many."""
    return f"{part / whole if whole else 0:7.2%} {part:>9,}"


def refused_lines(refused: Counter[str], first: Mapping[str, str], read: ReadReport, whole: int) -> list[str]:
    """Why records were refused, and where first, the most frequent reason first; those that could not be read at all among them."""
    found = []
    for reason, count in (refused + Counter(read.broken)).most_common():
        where = first.get(reason) or read.first.get(reason, "")
        found.append(f"  refused  {share(count, whole)}  {reason}{f' (first: {where})' if where else ''}")
    return found
