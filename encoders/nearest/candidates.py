"""What a scan proposes: pairs of a user and a row, from the buffers that its threads kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class CandidatePairs(NamedTuple):
    """Candidates, ordered by user."""

    users: Rows
    rows: Rows


def pairs_of(kept: Sequence[tuple[Any, Any, Any]], wanted: Rows, slack: float, users: int) -> CandidatePairs:
    """What several buffers (of one or more parts of the catalogue) hold within ``slack`` of each user's k-th best score."""
    rows = np.concatenate([part[0] for part in kept], axis=1)[:users]
    filled = [np.arange(part[0].shape[1]) < part[2][:, None] for part in kept]
    known = np.concatenate(filled, axis=1)[:users]
    values = np.concatenate([part[1] for part in kept], axis=1)[:users].astype(np.float64)
    values[~known] = -np.inf
    ordered = np.sort(values, axis=1)
    bounds = ordered[np.arange(users), values.shape[1] - wanted[:users]] - slack
    user, place = np.nonzero(known & (values >= bounds[:, None]))
    return CandidatePairs(user, rows[user, place].astype(np.int64))
