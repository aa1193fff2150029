"""Selects the best items from a whole matrix of scores, in two steps: a cheap proposal, then an exact decision.

The last bits of a matrix product depend on its number of rows, so on the other requests in the batch. Therefore these scores only propose
candidates, with a margin for every rounding error. The decision uses the score of each pair computed by itself, which depends on this pair
only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray

NEVER = np.float32(-np.inf)

_UNIT_ROUNDOFF = 2.0**-24


class Chosen(NamedTuple):
    """Places in the pairs, user after user, each user's best first."""

    places: npt.NDArray[np.intp]
    starts: list[int]
    counts: list[int]


class ScorePairs(NamedTuple):
    """Places in a matrix of scores, ordered by user."""

    users: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]


def margin(dimension: int) -> float:
    """How far two ways of adding up the same dot product of unit float32 vectors can be apart.

    Each is within dimension · 2^-24 of the true value (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and
    adding the prior rounds once more; so twice that, for either side of a comparison.
    """
    return 4.0 * (dimension + 4) * _UNIT_ROUNDOFF


def propose(scores: FloatArray, count: int, threshold: float, slack: float) -> ScorePairs:
    """All pairs that may be among their user's ``count`` best and above the threshold, if scores [users, rows] are off by ``slack``."""
    users, rows = scores.shape
    if count < rows:
        best = np.partition(scores, rows - count, axis=1)[:, rows - count]
        bounds = np.maximum(best, np.float32(threshold))
    else:
        bounds = np.full(users, threshold, np.float32)
    # Minus infinity stays out whatever the threshold is.
    bounds = np.maximum(bounds - np.float32(slack), np.finfo(np.float32).min)
    flat = np.flatnonzero(scores >= bounds[:, None])
    return ScorePairs(flat // rows, flat % rows) if rows else ScorePairs(flat, flat)


def best(pairs: ScorePairs, scores: npt.NDArray[np.floating], ids: Sequence[str], *, users: int, count: int, threshold: float) -> Chosen:
    """Each user's ``count`` best pairs above the threshold, equal ones by item id; ``scores`` [pairs, parts] are to be added up."""
    totals = scores.sum(axis=1, dtype=np.float64)
    above = np.flatnonzero(totals > threshold)
    if len(above) > 2 * count * users:
        above = _first(above, pairs.users[above], totals[above], count)
    user_of, row_of, negated = pairs.users[above].tolist(), pairs.rows[above].tolist(), (-totals[above]).tolist()
    order = sorted((user, total, ids[row], place) for user, total, row, place in zip(user_of, negated, row_of, above.tolist(), strict=True))
    places: list[int] = []
    counts = [0] * users
    for user, _, _, place in order:
        if counts[user] < count:
            counts[user] += 1
            places.append(place)
    return Chosen(np.array(places, np.intp), list(accumulate(counts, initial=0))[:-1], counts)


def _first(places: npt.NDArray[np.intp], users: npt.NDArray[np.intp], totals: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Of places in order of their users those of each user's ``count`` largest totals, and of those equal to the last."""
    order = np.lexsort((-totals, users))
    firsts = np.flatnonzero(np.diff(users, prepend=-1))
    sizes = np.diff(firsts, append=len(users))
    last = totals[order[firsts + np.minimum(sizes, count) - 1]]
    found: npt.NDArray[np.intp] = places[totals >= np.repeat(last, sizes)]
    return found


class Groups(NamedTuple):
    """The rows that belong to groups, group after group."""

    rows: npt.NDArray[np.intp]
    begins: npt.NDArray[np.intp]
    """[groups]: where each begins."""
    which: npt.NDArray[np.intp]
    """[rows]: the place of each row's group."""


def groups_of(numbers: npt.NDArray[np.uint64], rows: npt.NDArray[np.intp]) -> Groups:
    """The groups of rows by their ``numbers``."""
    order = np.argsort(numbers, kind="stable")
    _, begins, counts = np.unique(numbers[order], return_index=True, return_counts=True)
    return Groups(rows[order], begins, np.repeat(np.arange(len(begins)), counts))


def only_best(scores: FloatArray, groups: Groups, slack: float) -> None:
    """Set the scores [users, rows] of all that is not the best of its group to minus infinity, in place. What may be the best, if scores
    are off by ``slack``, stays."""
    mine = scores[:, groups.rows]
    bounds = np.maximum.reduceat(mine, groups.begins, axis=1) - np.float32(slack)
    mine[mine < bounds[:, groups.which]] = NEVER
    scores[:, groups.rows] = mine


def cosines(users: FloatArray, vectors: FloatArray, pairs: ScorePairs) -> FloatArray:
    """float32 [pairs]: the dot product of each pair by itself. numpy adds a row up pairwise, the same way wherever it stands."""
    products = users[pairs.users]
    products *= vectors[pairs.rows]
    total: FloatArray = products.sum(axis=1)
    return total


def masked_rows(recommendable: npt.NDArray[np.bool_]) -> FloatArray:
    """float32 [rows], to be added to scores: 0, and minus infinity for what nobody may be recommended."""
    return np.where(recommendable, np.float32(0), NEVER)


def exclude(scores: FloatArray, excluded: Sequence[Sequence[str]], rows: Mapping[str, int]) -> None:
    """Set the scores [users, rows] of each user's excluded items to minus infinity, in place; unknown items don't matter."""
    masked = [[row for row in map(rows.get, items) if row is not None] for items in excluded]
    users = np.repeat(np.arange(len(masked)), [len(items) for items in masked])
    scores[users, np.fromiter(chain.from_iterable(masked), np.intp, len(users))] = NEVER
