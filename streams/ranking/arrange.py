"""Chooses the lists of a batch from its scored pairs: by score alone, or as the rules of the slate say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.popularity_table import PopularityTable, Rows
from streams.ranking.request import Request
from streams.ranking.select import NEVER, Chosen, ScorePairs, best, cosines, margin, propose
from streams.ranking.slate.chance import beta, mixed, uniform
from streams.ranking.slate.regrets import lowered
from streams.ranking.slate.rules import SlateRules

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]
Values = Callable[[npt.NDArray[np.intp]], Floats]
"""Predicted values, from 0 to 1, of the pairs at these places."""

NEWCOMERS = 20
"""Most new items that are looked at for a shopper: the most similar ones."""
MOST_NEW = 4096
"""Most new items that are compared with a batch's shoppers; of more, a part that changes with the day."""
_BEFORE = 5.0
"""What the predicted value of a new item counts like, in exposures."""
_DAY_MS = 86_400_000
_PLACES, _DRAWS = 1, 2
"""What chance is asked for."""


class Catalogue(Rows, Protocol):
    """The part of the item matrix that is read here."""

    @property
    def vectors(self) -> FloatArray: ...
    @property
    def products(self) -> Words: ...
    @property
    def groups(self) -> Words: ...
    @property
    def recommendable(self) -> npt.NDArray[np.bool_]: ...


class Newcomers(NamedTuple):
    """The catalogue's new items, and for each shopper those that are most similar to her."""

    exposures: Floats
    """float64 [rows], of all items."""
    is_new: npt.NDArray[np.bool_]
    """[rows]."""
    pairs: ScorePairs
    """Each shopper's, at most ``NEWCOMERS``."""


def penalties(rules: SlateRules, matrix: Catalogue, popularity: PopularityTable) -> FloatArray | None:
    """float32 [rows]: what predicted dismissals and returns take from the items' scores; None where nothing."""
    if not rules.lowers:
        return None
    found = popularity.outcomes(matrix)
    return lowered(rules, found.exposures, found.dismissals, found.buyers, found.returns).astype(np.float32)


def find_newcomers(
    rules: SlateRules, requests: Sequence[Request], users: FloatArray, matrix: Catalogue, popularity: PopularityTable
) -> Newcomers | None:
    """None where new items have no places of their own, or there are none. ``users`` float32 [requests, dimension] are the vectors."""
    if not rules.new_share or all(request.seed is None for request in requests):
        return None
    counted = popularity.outcomes(matrix)
    at_ms = np.array([popularity.cell(request.at_ms) for request in requests], np.float64)
    none = ScorePairs(np.zeros(0, np.intp), np.zeros(0, np.intp))
    users_of, rows_of, is_new = [], [], np.zeros(len(matrix.ids), np.bool_)
    few = matrix.recommendable & (counted.exposures < rules.new_exposures)
    for moment in np.unique(at_ms).tolist():
        # What nobody has ever turned to is new, however long it has been there.
        new = few & ~(counted.first_ms < moment - rules.new_ms)
        is_new |= new
        rows = np.flatnonzero(new)
        if len(rows) > MOST_NEW:
            turn = mixed(matrix.products[rows] ^ np.uint64(int(moment) // _DAY_MS))
            rows = np.sort(rows[np.argsort(turn, kind="stable")[:MOST_NEW]])
        mine = np.flatnonzero(at_ms == moment)
        near = propose(users[mine] @ matrix.vectors[rows].T, NEWCOMERS, float(np.finfo(np.float32).min), margin(users.shape[1]))
        pairs = ScorePairs(mine[near.users], rows[near.rows])
        exact = cosines(users, matrix.vectors, pairs)
        kept = best(pairs, exact[:, None], matrix.ids, users=len(requests), count=NEWCOMERS, threshold=float(NEVER)).places
        users_of.append(pairs.users[kept])
        rows_of.append(pairs.rows[kept])
    if not is_new.any():
        return None
    users_all, rows_all = np.concatenate(users_of), np.concatenate(rows_of)
    order = np.lexsort((rows_all, users_all))
    return Newcomers(counted.exposures, is_new, ScorePairs(users_all[order], rows_all[order]) if len(order) else none)


def joined(pairs: ScorePairs, more: ScorePairs, first: int, excluded: Sequence[Sequence[str]], matrix: Catalogue) -> ScorePairs:
    """The pairs of the requests from place ``first`` on and those of ``more``, whose users are places in the whole batch, without what is
    excluded; each pair once, by user and row."""
    size, users = max(1, len(matrix.ids)), len(excluded)
    mine = (more.users >= first) & (more.users < first + users)
    keys = (more.users[mine] - first) * size + more.rows[mine]
    gone = [user * size + row for user, items in enumerate(excluded) for row in map(matrix.rows.get, items) if row is not None]
    keys = np.union1d(pairs.users * size + pairs.rows, keys[~np.isin(keys, gone)])
    return ScorePairs(keys // size, keys % size)


def drawn_places(seeds: Words, count: int, share: float) -> npt.NDArray[np.bool_]:
    """bool [lists, count]: the places that chance gives to new items, each with probability ``share``; never all of a list, so the last one
    of a list of ``count`` has it only where another has not. ``seeds`` uint64 [lists]: the first 16 hexadecimal characters of the
    trigger's event id, as numbers."""
    found: npt.NDArray[np.bool_] = uniform(seeds[:, None], np.arange(count, dtype=np.uint64), _PLACES) < share
    found[found.all(axis=1), -1:] = False
    return found


def arrange(
    pairs: ScorePairs,
    totals: Floats,
    values: Values,
    requests: Sequence[Request],
    newcomers: Newcomers | None,
    matrix: Catalogue,
    rules: SlateRules,
    *,
    count: int,
    threshold: float,
) -> Chosen:
    """Each request's list of at most ``count`` pairs above the threshold; in a list that is not empty without them, new items at places of
    their own may have any score. ``totals`` float64 [pairs] are the scores; ``pairs.users`` are
    places in ``requests``, ascending. What a request gets does not depend on the others."""
    users = len(requests)
    if not rules.arranges:
        return best(pairs, totals[:, None], matrix.ids, users=users, count=count, threshold=threshold)
    from encoders.kernels import slate

    pool = ordered(pairs, totals, matrix.ids, users=users, count=rules.pool(count), threshold=threshold)
    is_new, draws = np.zeros(len(totals), np.bool_), np.zeros(len(totals))
    drawn = np.zeros((users, count), np.bool_)
    fresh = Chosen(np.zeros(0, np.intp), [0] * users, [0] * users)
    if newcomers is not None:
        seeds = np.array([request.seed or 0 for request in requests], np.uint64)
        drawn = drawn_places(seeds, count, rules.new_share)
        drawn[[request.seed is None for request in requests]] = False
        is_new = newcomers.is_new[pairs.rows]
        # Above the threshold or not: nobody knows yet what a new item is worth, and its score says so.
        places = np.flatnonzero(is_new)
        if len(places):
            means = np.clip(values(places), 0.0, 1.0)
            strength = _BEFORE + newcomers.exposures[pairs.rows[places]]
            about = matrix.products[pairs.rows[places]] ^ np.uint64(_DRAWS)
            draws[places] = beta(seeds[pairs.users[places]], about, means, strength)
            new = ScorePairs(pairs.users[places], pairs.rows[places])
            fresh = ordered(new, draws[places], matrix.ids, users=users, count=NEWCOMERS, threshold=-1.0)
            fresh = fresh._replace(places=places[fresh.places])
    out, counts = np.zeros((users, count), np.int64), np.zeros(users, np.int64)
    slate.fill(
        _begins(pool),
        pool.places.astype(np.int64),
        _begins(fresh),
        fresh.places.astype(np.int64),
        pairs.rows.astype(np.int64),
        totals,
        is_new,
        draws,
        drawn,
        matrix.vectors,
        matrix.products if rules.variants_once else matrix.groups,
        float(rules.diversity_weight),
        rules.once,
        out,
        np.zeros((users, count), np.bool_),
        counts,
    )
    listed = np.arange(count) < counts[:, None]
    told = counts.tolist()
    return Chosen(out[listed].astype(np.intp), list(accumulate(told, initial=0))[:-1], told)


def ordered(pairs: ScorePairs, totals: Floats, ids: Sequence[str], *, users: int, count: int, threshold: float) -> Chosen:
    """As ``select.best`` of totals, for many items a list: without a Python object for each pair but for those that are equal."""
    above = np.flatnonzero(totals > threshold)
    order = above[np.lexsort((-totals[above], pairs.users[above]))]
    owners, values = pairs.users[order], totals[order]
    same = np.flatnonzero((np.diff(values) == 0) & (np.diff(owners) == 0))
    # Runs of equal scores are put in order of their ids; the rows' order is that of arrival.
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1) if len(same) else []:
        equal = slice(int(run[0]), int(run[-1]) + 2)
        order[equal] = sorted(order[equal].tolist(), key=lambda place: ids[int(pairs.rows[place])])
    begins = np.searchsorted(owners, np.arange(users))
    kept = np.arange(len(order)) - begins[owners] < count
    counts = np.bincount(owners[kept], minlength=users).tolist()
    return Chosen(order[kept], list(accumulate(counts, initial=0))[:-1], counts)


def _begins(chosen: Chosen) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(chosen.counts))).astype(np.int64)
