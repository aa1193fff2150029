"""Which items a ranker looks at: the best of several sources, each named, at most ``MOST`` for a shopper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.batch import Pairs, Reach, strongest
from streams.ranking.popularity_table import Counts
from streams.ranking.prepared import Catalogue
from streams.ranking.together_table import Ints, Together

SOURCES = {"similar": 60, "related": 60, "together": 20, "session": 20, "popular": 10, "rising": 5, "new": 5, "match": 20}
"""Most candidates from each.

- similar: cosine and popularity, with their hand-set weights.
- related: related to the history by the ranker's own table.
- together: bought together with the history; session: with the last session.
- popular: most events lately; rising: most events of two days for those of two months; new: youngest first event.
- match: the words of the query.
"""
MOST = sum(SOURCES.values())
_SPARE = 4
"""Times as many of the items that are alike for all shoppers are looked at, since a shopper may have had the first of them."""
_STEADY = 5.0
"""Events added to those of two months: an item of hardly any events does not rise."""


class ForAll(NamedTuple):
    """Rows that are candidates for every shopper at a moment, best first."""

    popular: Ints
    rising: Ints
    new: Ints


def for_all(counts: Counts, first_ms: npt.NDArray[np.float64], open_rows: npt.NDArray[np.bool_], ids: Sequence[str]) -> ForAll:
    """From all rows' ``counts`` [rows, half-lives] and first events [rows], not a number where there is none. Equal ones go by their
    ``ids``: rows are numbered as they arrive, which differs from worker to worker."""
    seen = open_rows & (counts[:, 1] > 0)
    return ForAll(
        _first(np.where(seen, counts[:, 1], -np.inf), SOURCES["popular"], ids),
        _first(np.where(seen, counts[:, 0] / (counts[:, 3] + _STEADY), -np.inf), SOURCES["rising"], ids),
        _first(np.where(seen & np.isfinite(first_ms), first_ms, -np.inf), SOURCES["new"], ids),
    )


def _first(values: npt.NDArray[np.float64], wanted: int, ids: Sequence[str]) -> Ints:
    count = min(len(values), _SPARE * wanted)
    if not count:
        return np.zeros(0, np.int64)
    least = np.partition(values, len(values) - count)[len(values) - count]
    found = np.flatnonzero((values >= least) & np.isfinite(values))
    if len(found) > 2 * count:  # very many are equal, and nothing is known that tells them apart
        found = found[values[found] > least]
    return np.array(sorted(found.tolist(), key=lambda row: (-values[row], ids[row])), np.int64)


def by_source(
    reached: Reach,
    catalogue: Catalogue,
    similar: Pairs,
    shared: Sequence[ForAll],
    matches: Sequence[Together],
    open_rows: npt.NDArray[np.bool_],
    shut: Pairs,
) -> dict[str, Ints]:
    """Keys of candidates, shopper · rows + row, by source. ``shut`` are each shopper's rows that she must not get; ``similar`` has none
    of them."""
    size = max(1, len(catalogue.ids))
    found = {
        "similar": _keys(similar, size),
        "related": _keys(strongest(reached.related, open_rows, shut, SOURCES["related"]), size),
        "together": _keys(strongest(reached.together, open_rows, shut, SOURCES["together"]), size),
        "session": _keys(strongest(reached.session, open_rows, shut, SOURCES["session"]), size),
    }
    closed = np.sort(_keys(shut, size))
    for source in ("popular", "rising", "new"):
        found[source] = _for_each(closed, [getattr(one, source) for one in shared], size, SOURCES[source])
    asked = [user for user, match in enumerate(matches) if len(match.rows)]
    found["match"] = np.zeros(0, np.int64)
    for user in asked:
        match = matches[user]
        keys = user * size + match.rows
        kept = open_rows[match.rows] & ~_among(keys, closed)
        best = np.lexsort((keys[kept], -match.values[kept]))[: SOURCES["match"]]
        found["match"] = np.concatenate((found["match"], keys[kept][best]))
    return found


def union(keys: dict[str, Ints], shoppers: int, size: int) -> Pairs:
    """Each candidate once, whichever sources it has; ``size`` is the number of rows."""
    # Sorted and compared: of so many integers that is several times as fast as np.unique, which hashes them first.
    all_keys = np.sort(np.concatenate(list(keys.values())))
    all_keys = all_keys[np.concatenate((np.ones(min(1, len(all_keys)), np.bool_), all_keys[1:] != all_keys[:-1]))]
    users, rows = np.divmod(all_keys, max(1, size))
    return Pairs(np.searchsorted(users, np.arange(shoppers + 1)).astype(np.int64), rows)


def most_similar(pairs: Pairs, totals: npt.NDArray[np.float64], most: int = SOURCES["similar"]) -> Pairs:
    """Each shopper's ``most`` pairs of the largest totals, and those equal to the last of them."""
    users = pairs.users
    order = np.lexsort((-totals, users))
    place = np.arange(len(order)) - pairs.begins[users]
    least = np.full(len(pairs.begins) - 1, -np.inf)
    last = order[place == most - 1]
    least[users[last]] = totals[last]
    kept = totals >= least[users]
    # Where very many are equal (items that nothing is known of), none of them is a candidate: any choice would depend on the rows' order.
    crowded = np.bincount(users[kept], minlength=len(least)) > 2 * most
    kept &= ~crowded[users] | (totals > least[users])
    begins = np.searchsorted(users[kept], np.arange(len(pairs.begins)))
    return Pairs(begins.astype(np.int64), pairs.rows[kept])


def _for_each(closed: Ints, rows: Sequence[Ints], size: int, most: int) -> Ints:
    """The first ``most`` of each shopper's rows that are not closed to her."""
    if not rows:
        return np.zeros(0, np.int64)
    counts = np.array([len(own) for own in rows])
    users = np.repeat(np.arange(len(rows)), counts)
    keys = users * size + np.concatenate(rows)
    open_to = ~_among(keys, closed)
    place = np.cumsum(open_to)
    before = np.concatenate(([0], place))[np.cumsum(counts) - counts]
    found: Ints = keys[open_to & (place - before[users] <= most)]
    return found


def _keys(pairs: Pairs, size: int) -> Ints:
    return pairs.users * size + pairs.rows


def _among(keys: Ints, ordered: Ints) -> npt.NDArray[np.bool_]:
    if not len(ordered):
        return np.zeros(len(keys), np.bool_)
    found: npt.NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)] == keys
    return found
