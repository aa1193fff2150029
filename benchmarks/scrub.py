"""How much personal data scrubbing finds, and how much else it takes: ``make bench-scrub``.

Texts are made by rules of their own (``scrub_values.py``, ``scrub_carriers.py``). A datum counts as found if none of its letters and digits is left.
What is removed counts as right if it holds a part of a datum. Beside the scrubber: Presidio with spaCy's small English model and all its
recognizers, also those for China's numbers, and helan with jieba. They mark places in the text; the same rules apply.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scrub_carriers import KINDS, Labelled, labelled
from streams.privacy import scrub as scrubbing

Span = tuple[int, int]
Finder = Callable[[str], list[Span]]
_MARK = re.compile(r"<(?:email|phone|id|card|ip|url|handle|address|name|plate|document|order|token)>")
_TITLES = Path(__file__).resolve().parents[2] / "shared/data/online_retail_2010_2011/items.csv.gz"


def plain(text: str) -> str:
    """The form in which the scrubber gives texts back, so that places in it can be compared."""
    return scrubbing._plain(text)


def removed(before: str, after: str) -> list[Span]:
    """Which parts of a text marks stand for. The parts that were kept come in the same order; each is looked for from where the last ended."""
    kept = _MARK.split(after)
    pattern = "([^\\0]+)".join(map(re.escape, kept))
    match = re.fullmatch(pattern, before, re.DOTALL)
    if match is None:
        raise ValueError("what was kept is not in the text that came in")
    return [match.span(number) for number in range(1, len(kept))]


def veilstream(text: str) -> list[Span]:
    after, changed = scrubbing.scrub(text)
    return removed(text, after) if changed else []


def covered(text: str, begin: int, end: int, spans: Iterable[Span]) -> bool:
    """Whether no letter and no digit of a part is outside of the spans."""
    inside = {place for left, right in spans for place in range(left, right)}
    return all(place in inside or not text[place].isalnum() for place in range(begin, end))


def judge(texts: Sequence[Labelled], find: Finder) -> dict[str, Any]:
    """Recall and precision, over all and by kind, and what was wrongly removed."""
    hits: dict[str, list[int]] = defaultdict(list)
    right = wrong = harmless = touched = 0
    by_kind: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    missed: list[str] = []
    taken: list[str] = []
    for one in texts:
        spans = find(one.text)
        for left, right_end in spans:
            good = one.kind != "" and left < one.end and right_end > one.begin
            right += good
            wrong += not good
            if one.kind:
                by_kind[one.kind][0 if good else 1] += 1
            if not good:
                taken.append(f"{one.kind}: {one.text} [{one.text[left:right_end]}]")
        if one.kind:
            found = covered(one.text, one.begin, one.end, spans)
            hits[one.kind].append(found)
            if not found:
                missed.append(f"{one.kind}: {one.text}")
        else:
            harmless += 1
            touched += bool(spans)
    all_hits = [hit for own in hits.values() for hit in own]
    old_hits = [hit for kind, own in hits.items() if KINDS[kind].old for hit in own]
    return {
        "recall": statistics.fmean(all_hits),
        "recall_of_earlier_kinds": statistics.fmean(old_hits),
        "precision": right / max(1, right + wrong),
        "harmless_touched": touched / max(1, harmless),
        "kinds": {
            kind: {"texts": len(own), "recall": statistics.fmean(own), "precision": by_kind[kind][0] / max(1, sum(by_kind[kind]))}
            for kind, own in hits.items()
        },
        "examples_missed": missed[:40],
        "examples_taken": taken[:40],
    }


def titles() -> list[str]:
    """Titles of the shared year's items."""
    with gzip.open(_TITLES, "rt", encoding="utf-8") as file:
        return [row["title"] for row in csv.DictReader(io.StringIO(file.read()))]


if __name__ == "__main__":
    import sys

    found = judge([one._replace(text=plain(one.text)) for one in labelled(1, 12_000, held_out="held" in sys.argv)], veilstream)
    print({k: v for k, v in found.items() if isinstance(v, float)})
    for kind, own in found["kinds"].items():
        if own["recall"] < 0.99 or own["precision"] < 0.99:
            print(kind, own)
    print(*found["examples_missed"], "", *found["examples_taken"], sep="\n")
