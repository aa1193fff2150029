"""The input and output types of the ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray


class Request(NamedTuple):
    """Recommend something to one shopper, as the profile stood at the moment."""

    items: list[str]
    """The history's items."""
    item_entries: list[Entry]
    """What was done with each of them."""
    queries: list[tuple[str, Entry]]
    """The history's queries."""
    query: str | None
    """The search to answer, for policy ``search``."""
    excluded: list[str]
    """Items that must not be recommended."""
    at_ms: int
    seed: int | None = None
    """What chance in the answer is a function of, 64 bits; None: nothing is left to chance."""


class LookedAt(NamedTuple):
    """All candidates of a ranker for one answer."""

    rows: npt.NDArray[np.int64]
    """[candidates], of the item matrix."""
    levels: npt.NDArray[np.uint8]
    """[candidates, features]."""


@dataclass(slots=True)
class Ranked:
    """The answer, best first; all arrays have one row an item."""

    items: list[str]
    scores: FloatArray
    """float32 [items, 4]: cosine, prior, and what is added for being bought together with the history and for matching the query's
    letters; the score is their sum. Where a ranker serves: the cosine, and the ranker's shares of the other three."""
    sources: list[Source]
    reasons: npt.NDArray[np.uint16]
    """[items, reasons]: places in ``sources``, largest share first."""
    shares: FloatArray
    """float32 [items, reasons]: what each reason adds to the score."""
    judged: npt.NDArray[np.float64] | None = None
    """float64 [items, 2]: a ranker's score, and the probability that the item is taken next; None where no ranker serves."""
    looked_at: LookedAt | None = None
    """None where no ranker serves."""


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One element of the history: all that the shopper did with one item, or one query."""

    weight: float
    """As of ``time_ms``; it halves with every half-life."""
    time_ms: int
    event_type: int
    """Code of the event that weighs most in it."""


class Source(msgspec.Struct, array_like=True, frozen=True):
    """Something that may speak for an item: an element of the history, the search's query, or popularity."""

    kind: str
    item_id: str | None = None
    event_type: int | None = None
