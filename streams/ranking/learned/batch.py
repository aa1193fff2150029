"""The histories of a batch of requests as arrays, and the sums and products over (shopper, item) pairs that features are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.embedding import Embedding
from streams.ranking.item_matrix import NO_BAND, NO_CATEGORY
from streams.ranking.learned.features import FEATURES, PLACE
from streams.ranking.popularity_table import Activity, Rows
from streams.ranking.prepared import Catalogue
from streams.ranking.request import Request
from streams.ranking.together_table import Ints, Neighbours, Together

_DAY_MS = 86_400_000.0
_RATE = 0.05
"""Events a day added to both rates of the trend: an item of few events has none."""


class NeighbourTable(Protocol):
    """Items' neighbours: those that are counted, or those of a model."""

    @property
    def neighbours(self) -> Neighbours: ...
    def numbers_of(self, matrix: Rows) -> Ints: ...
    def rows_of(self, matrix: Rows) -> Ints: ...


class Pairs(NamedTuple):
    """Candidates: shoppers in order, each with rows of the item matrix, ascending."""

    begins: Ints
    """int64 [shoppers + 1]."""
    rows: Ints
    """int64 [pairs]."""

    @property
    def users(self) -> Ints:
        """int64 [pairs]: the shopper of each."""
        return np.repeat(np.arange(len(self.begins) - 1), np.diff(self.begins))


@dataclass(frozen=True)
class Batch:
    """The histories of a batch's shoppers, one after another."""

    begins: Ints
    """int64 [shoppers + 1]."""
    items: list[str]
    """Of all histories."""
    rows: Ints
    """int64 [items], of the item matrix."""
    weights: npt.NDArray[np.float64]
    """[items]: the decayed weight of each relative to its shopper's heaviest; what was disliked has none."""
    signed: npt.NDArray[np.float64]
    """[items]: the same, below 0 for what was disliked."""
    shares: npt.NDArray[np.float64]
    """[items]: the weight's share of its shopper's history, queries included."""
    session: npt.NDArray[np.bool_]
    """[items]: belongs to the last session."""
    users: FloatArray
    """float32 [shoppers, dimension]: the vectors of the whole histories."""
    last: FloatArray
    """float32 [shoppers, dimension]: those of the last sessions."""
    at_ms: npt.NDArray[np.float64]
    """[shoppers]: the moment."""

    @property
    def session_shares(self) -> npt.NDArray[np.float64]:
        """[items]: each item's share of its last session."""
        own = np.where(self.session, self.weights, 0.0)
        total = np.add.reduceat(np.append(own, 0.0), self.begins[:-1]) if len(self.begins) > 1 else np.zeros(0)
        total = np.where(np.diff(self.begins) > 0, total, 0.0)
        found: npt.NDArray[np.float64] = own / np.maximum(np.repeat(total, np.diff(self.begins)), 1e-12)
        return found


def gather(requests: Sequence[Request], embeddings: Sequence[Embedding], users: FloatArray, catalogue: Catalogue, session_ms: int) -> Batch:
    """The requests' histories. ``users`` are the embeddings' vectors."""
    from encoders.kernels import pair_sums

    counts = [len(embedding.items) for embedding in embeddings]
    begins = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    items: list[str] = []
    moments: list[int] = []
    for request, embedding in zip(requests, embeddings, strict=True):
        items += embedding.items
        if len(request.items) == len(embedding.items):
            moments += [entry.time_ms for entry in request.item_entries]
        else:
            of = dict(zip(request.items, request.item_entries, strict=True))
            moments += [of[item].time_ms for item in embedding.items]
    times = np.array(moments, np.float64)
    rows = np.concatenate([embedding.rows for embedding in embeddings]).astype(np.int64)
    parts = np.concatenate([embedding.coefficients for embedding in embeddings]).astype(np.float64)
    sizes = np.array([len(embedding.coefficients) for embedding in embeddings], np.int64)
    owners = np.repeat(np.arange(len(requests)), counts)
    # Of each history's parts, the items come first.
    own = parts[np.arange(len(rows)) + (np.cumsum(sizes) - sizes - begins[:-1])[owners]]
    largest, whole = np.zeros(len(requests)), np.bincount(np.repeat(np.arange(len(requests)), sizes), np.abs(parts), len(requests))
    np.maximum.at(largest, owners, np.abs(own))
    signed = own / np.maximum(largest, 1e-30)[owners]
    wholes = (np.maximum(whole, 1e-30) / np.maximum(largest, 1e-30))[owners]
    weights = np.maximum(signed, 0.0)
    newest = np.full(len(requests), -np.inf)
    liked = weights > 0
    np.maximum.at(newest, owners[liked], times[liked])
    session = liked & (times >= newest[owners] - session_ms)
    last = np.zeros_like(users)
    pair_sums.directions(begins, rows, np.where(session, weights, 0.0), catalogue.vectors, last)
    at_ms = np.array([request.at_ms for request in requests], np.float64)
    return Batch(begins, items, rows, weights, signed, weights / wholes, session, users, last, at_ms)


class Sums(NamedTuple):
    """What the items of each shopper's history add up to, row by row of the item matrix, where that is not 0."""

    begins: Ints
    """int64 [shoppers + 1]."""
    rows: Ints
    """int64 [sums]: each row of a shopper once, in no order."""
    values: npt.NDArray[np.float64]
    """[sums]: Σ over the history of weight · strength of the pair (history item, row)."""


class Reach(NamedTuple):
    """How far the histories reach over pairs of items."""

    related: Sums
    together: Sums
    session: Sums
    """Bought together with the last session."""


def reach(batch: Batch, together: NeighbourTable, related: NeighbourTable, catalogue: Catalogue) -> Reach:
    """All such sums that features and candidates need; they are the dearest part of both."""
    return Reach(
        gathered(batch, batch.weights, related, catalogue),
        gathered(batch, batch.shares, together, catalogue),
        gathered(batch, batch.session_shares, together, catalogue),
    )


def gathered(batch: Batch, weights: npt.NDArray[np.float64], table: NeighbourTable, catalogue: Catalogue) -> Sums:
    """The sums over one table, with weights [items] of the histories' items."""
    from encoders.kernels import pair_sums

    known = table.neighbours
    begins = np.zeros(len(batch.begins), np.int64)
    if not len(known.others) or not len(batch.items):
        return Sums(begins, np.zeros(0, np.int64), np.zeros(0))
    numbers, rows_of = table.numbers_of(catalogue)[batch.rows], table.rows_of(catalogue)
    own = numbers[(weights != 0) & (numbers >= 0) & (numbers < len(known.starts) - 1)]
    most = int((known.starts[own + 1] - known.starts[own]).sum()) + 1
    rows, values = np.empty(most, np.int64), np.empty(most)
    pair_sums.gathered(batch.begins, numbers, weights, *known, rows_of, np.zeros(len(catalogue.ids)), begins, rows, values)
    return Sums(begins, rows[: begins[-1]], values[: begins[-1]])


def strongest(sums: Sums, open_rows: npt.NDArray[np.bool_], shut: Pairs, most: int) -> Pairs:
    """Each shopper's ``most`` rows with the largest sums above 0, and all equal to the last of them, unless these are so many that
    there would be more than twice as many; then none of them. Only open rows that are not shut to the shopper."""
    from encoders.kernels import pair_sums

    counts = np.zeros(len(sums.begins) - 1, np.int64)
    if not len(sums.rows):
        return Pairs(np.zeros(len(counts) + 1, np.int64), np.zeros(0, np.int64))
    out = np.empty(len(counts) * 2 * most, np.int64)
    pair_sums.strongest(*sums, open_rows, *shut, most, counts, out)
    begins = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Pairs(begins, out[: begins[-1]])


def sums_at(sums: Sums, catalogue: Catalogue, pairs: Pairs) -> FloatArray:
    """float32 [pairs]: the sum of each pair's row for its shopper."""
    from encoders.kernels import pair_sums

    found = np.zeros(len(pairs.rows), np.float32)
    if len(sums.rows):
        pair_sums.at(*sums, np.zeros(len(catalogue.ids)), *pairs, found)
    return found


def dots(users: FloatArray, catalogue: Catalogue, pairs: Pairs) -> FloatArray:
    """float32 [pairs]: the product of the shopper's vector and the item's. That of a pair depends on nothing but the pair."""
    from encoders.kernels import pair_sums

    found = np.zeros(len(pairs.rows), np.float32)
    pair_sums.dots(users, catalogue.vectors, pairs.begins, pairs.rows, found)
    return found


def values(
    batch: Batch,
    catalogue: Catalogue,
    pairs: Pairs,
    activity: Activity,
    reached: Reach,
    matches: Sequence[Together],
) -> FloatArray:
    """float32 [pairs, features], in the order of ``FEATURES``. ``activity`` is that of the pairs' rows at their shoppers' moments."""
    from encoders.kernels import pair_sums

    users = pairs.users
    columns = np.zeros((len(FEATURES), len(pairs.rows)), np.float32)  # one feature after another: each is filled, and read, in one go
    columns[PLACE["text_history"]] = dots(batch.users, catalogue, pairs)
    columns[PLACE["text_session"]] = dots(batch.last, catalogue, pairs)
    columns[PLACE["pairs_history"]] = sums_at(reached.together, catalogue, pairs)
    columns[PLACE["pairs_session"]] = sums_at(reached.session, catalogue, pairs)
    columns[PLACE["related"]] = sums_at(reached.related, catalogue, pairs)
    first = PLACE["popularity_2"]
    columns[first : first + activity.counts.shape[1]] = activity.counts.T
    now, then = activity.counts[:, 1] / 5.0, activity.counts[:, 3] / 60.0
    columns[PLACE["trend"]] = np.log((now + _RATE) / (then + _RATE))
    # An item without events is as old as can be: nothing is known of it.
    at_ms = batch.at_ms[users]
    columns[PLACE["first_event"]] = _days(at_ms, activity.first_ms)
    columns[PLACE["last_purchase"]] = _days(at_ms, activity.bought_ms)
    columns[PLACE["buyers"]] = activity.buyers
    columns[PLACE["history"]] = np.diff(batch.begins)[users]
    history = (batch.begins, batch.rows, batch.signed, batch.weights, batch.shares)
    own = (columns[PLACE["seen"]], columns[PLACE["category"]], columns[PLACE["price"]])
    pair_sums.own(*history, catalogue.categories, catalogue.price_bands, NO_CATEGORY, NO_BAND, *pairs, *own)
    asked = [user for user, match in enumerate(matches) if len(match.rows)]
    if asked:
        size = max(1, len(catalogue.ids))
        keys = np.concatenate([user * size + matches[user].rows for user in asked])
        scores = np.concatenate([matches[user].values for user in asked]).astype(np.float64)
        columns[PLACE["match"]] = _at(keys, scores, users * size + pairs.rows)
    return columns.T


def _days(at_ms: npt.NDArray[np.float64], then_ms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = (at_ms - then_ms) / _DAY_MS
    return np.where(np.isnan(found), np.inf, found)


def _at(keys: Ints, amounts: npt.NDArray[np.float64], wanted: Ints) -> npt.NDArray[np.float64]:
    """The sums of ``amounts`` by key, at the wanted keys; 0 where a key has none."""
    if not len(keys):
        return np.zeros(len(wanted))
    own, places = np.unique(keys, return_inverse=True)
    totals = np.bincount(places, amounts)
    at = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
    found: npt.NDArray[np.float64] = np.where(own[at] == wanted, totals[at], 0.0)
    return found
