"""What a ranking of cases gives, and a case as a request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.ranking.request import Entry, Request
from streams.ranking.rules import VIEW
from streams.training.evaluation.cases import Case


@dataclass(frozen=True)
class Ranked:
    """Each case's best items, best first."""

    rows: npt.NDArray[np.intp]
    """[cases, K]: rows of the catalogue, -1 after the last."""
    scores: npt.NDArray[np.float64]
    """[cases, K]: minus infinity where there is no item."""


def request_of(case: Case) -> Request:
    """As the profile stage would make it of the case's history."""
    items = [part for part in case.history if part.kind == "item"]
    return Request(
        items=[part.ref for part in items],
        item_entries=[Entry(part.weight, case.at_ms - part.age_ms, VIEW) for part in items],
        queries=[(part.ref, Entry(part.weight, case.at_ms - part.age_ms, VIEW)) for part in case.history if part.kind == "query"],
        query=None,
        excluded=sorted(case.excluded),
        at_ms=case.at_ms,
    )
