"""What is asked of the ranking, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.stages.profile.profile import Entry, Source


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


@dataclass(slots=True)
class Ranked:
    """The answer, best first; all arrays have one row an item."""

    items: list[str]
    scores: FloatArray
    """float32 [items, 2]: cosine and prior; the score is their sum."""
    sources: list[Source]
    reasons: npt.NDArray[np.uint16]
    """[items, reasons]: places in ``sources``, largest share first."""
    shares: FloatArray
    """float32 [items, reasons]: what each reason adds to the score."""
