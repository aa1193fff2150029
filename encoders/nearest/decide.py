"""From candidates to answers: the exact score of each pair by itself, then each user's best, equal ones by item id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.engines.engine import Vectors

Rows = npt.NDArray[np.int64]


class CandidatePairs(NamedTuple):
    """Candidates, ordered by user."""

    users: Rows
    rows: Rows


class Found(NamedTuple):
    """Each user's best, best first; -1 and minus infinity where there are no more."""

    rows: Rows
    """int64 [users, k]"""
    scores: Vectors
    """float32 [users, k]"""


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


def decide(
    pairs: CandidatePairs, users: Vectors, vectors: Vectors, ids: Sequence[str], *, count: int, prior: Vectors | None, threshold: float
) -> Found:
    """Each user's ``count`` best pairs with cosine + prior above ``threshold``."""
    # A pair's sum must not depend on the pairs beside it, so no matrix product: numpy adds up each row the same way.
    scores = (users[pairs.users] * vectors[pairs.rows]).sum(axis=1)
    if prior is not None:
        scores += prior[pairs.rows]
    above = scores > threshold
    user, row, score = pairs.users[above], pairs.rows[above], scores[above]
    distinct, which = np.unique(row, return_inverse=True)
    by_id = sorted(range(len(distinct)), key=[ids[place] for place in distinct.tolist()].__getitem__)
    rank = np.empty(len(distinct), np.int64)
    rank[by_id] = np.arange(len(distinct))
    order = np.lexsort((rank[which], -score, user))
    user, row, score = user[order], row[order], score[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    best = place < count
    found = Found(np.full((len(users), count), -1, np.int64), np.full((len(users), count), -np.inf, np.float32))
    found.rows[user[best], place[best]] = row[best]
    found.scores[user[best], place[best]] = score[best]
    return found
