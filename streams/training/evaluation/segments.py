"""The parts of the shoppers that are looked at by themselves: a gain on average may be a loss to some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from streams.training.evaluation.cases import Case, Catalogue

NEW_EVENTS = 10
"""New users: at most so many events before."""
HEAVY_EVENTS = 100
"""Heavy users: at least so many."""


def segments(
    cases: Sequence[Case], catalogue: Catalogue, *, least: int, new_events: int = NEW_EVENTS, heavy_events: int = HEAVY_EVENTS
) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Name to bool [cases]: ``new users``, ``heavy users`` and ``category: NAME`` (cases with a target in it). Those with fewer than
    ``least`` cases are left out: nothing can be said of them."""
    events = np.array([case.events for case in cases], np.int64)
    found = {"new users": events <= new_events, "heavy users": events >= heavy_events}
    if catalogue.categories:
        rows = catalogue.rows
        for place, case in enumerate(cases):
            for category in {catalogue.categories[rows[item]] for item in case.targets if item in rows}:
                if category is not None:
                    found.setdefault(f"category: {category}", np.zeros(len(cases), np.bool_))[place] = True
    return {name: mask for name, mask in sorted(found.items()) if mask.sum() >= least}
