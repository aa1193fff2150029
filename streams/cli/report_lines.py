"""The lines that every report on a file's records has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from streams.producers.csv_rows import ReadReport


def share(part: int, whole: int) -> str:
    """In percent, and how many."""
    return f"{part / whole if whole else 0:7.2%} {part:>9,}"


def refused_objects(refused: Counter[str], first: Mapping[str, str], read: ReadReport) -> list[dict[str, Any]]:
    """Why records were refused, how often, and where first (null where that is not known), the most frequent reason first."""
    counts = (refused + Counter(read.broken)).most_common()
    return [{"reason": reason, "count": count, "first": first.get(reason) or read.first.get(reason)} for reason, count in counts]


def refused_lines(refused: Counter[str], first: Mapping[str, str], read: ReadReport, whole: int) -> list[str]:
    """As lines; those that could not be read at all are among them."""
    return [
        f"  refused  {share(one['count'], whole)}  {one['reason']}{f' (first: {where})' if (where := one['first']) else ''}"
        for one in refused_objects(refused, first, read)
    ]
