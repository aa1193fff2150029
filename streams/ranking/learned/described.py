"""The features of candidates that are given, and whether they are the ones that were logged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.learned.batch import NeighbourTable, Pairs, gather, reach, values
from streams.ranking.learned.features import Levels, levels
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Prepared

TOLERANCE = np.float32(1e-5)
"""Of a value, or of its share where it is above 1."""


def features_of(
    batch: Prepared, pairs: Pairs, popularity: PopularityTable, together: NeighbourTable, related: NeighbourTable
) -> FloatArray:
    """float32 [pairs, features]: of these candidates, as ``candidates`` would describe them."""
    matrix = batch.matrix
    history = gather(batch.requests, batch.embeddings, batch.users, matrix, batch.rules.together.session_ms)
    cells = np.array([popularity.cell(request.at_ms) for request in batch.requests], np.float64)
    activity = popularity.activity(matrix, cells[pairs.users], pairs.rows)
    return values(history, matrix, pairs, activity, reach(history, together, related, matrix), batch.matches)


def agreeing(found: FloatArray, logged: Levels) -> npt.NDArray[np.bool_]:
    """bool [pairs, features]: whether a value within ``TOLERANCE`` of the one found, float32 [pairs, features], has the logged level."""
    slack = np.where(np.isfinite(found), TOLERANCE * np.maximum(np.abs(found), np.float32(1)), np.float32(0)).astype(np.float32)
    agree: npt.NDArray[np.bool_] = (levels(found - slack) <= logged) & (logged <= levels(found + slack))
    return agree
