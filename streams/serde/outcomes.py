"""Reads a record of ``feedback`` as its outcomes: that of one item, or those of all items of a recommendation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import cast

from streams.serde.records import Feedback, Outcome

_OF_ITEM = Outcome.__annotations__.keys()


def feedback_id(recommendation_id: str, item_id: str) -> str:
    """32 hexadecimal characters of a BLAKE2b over both."""
    return blake2b(f"{recommendation_id}\x00{item_id}".encode(), digest_size=16).hexdigest()


def together(records: Sequence[Feedback]) -> Feedback:
    """One record with all outcomes of one recommendation. The first item's outcome is in the record's own fields. So a reader that
    ignores the others still reads a correct outcome. Raises IndexError if there are no outcomes.
    """
    others = [cast(Outcome, {name: value for name, value in one.items() if name in _OF_ITEM}) for one in records[1:]]
    return {**records[0], "others": others}


def each(record: Feedback) -> Iterator[Feedback]:
    """All outcomes of a record, each as a record of its own; fields that were not read are not there."""
    others = record.get("others")
    if not others:
        yield record
        return
    yield {**record, "others": []}
    for other in others:
        one = cast(Feedback, {**record, **other, "others": []})
        if "feedback_id" in record:
            one["feedback_id"] = feedback_id(record["recommendation_id"], other["item_id"])
        yield one
