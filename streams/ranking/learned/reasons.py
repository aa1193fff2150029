"""The reasons of items that a ranker chose: its features' shares, those of text and pairs split over the history, exact in sum.

A share of text is split over the parts of the history in proportion to what each adds to the cosine, a share of pairs over the history's
items in proportion to the weights of the pairs; only what speaks for the item counts, and where nothing does, the share is told without
an item. The last reason of every item, of kind ``other``, is all that was left out: the reasons always add up to the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.embedding import Embedding
from streams.ranking.learned.batch import Batch, NeighbourTable
from streams.ranking.learned.features import FEATURES
from streams.ranking.prepared import Catalogue
from streams.ranking.reasons import Reasons
from streams.ranking.request import Source
from streams.ranking.together_table import Ints

GROUPS = tuple(dict.fromkeys(feature.group for feature in FEATURES))
"""Kinds of reasons that need no item. What can't be split of text and pairs is told by these names too."""
_PLACES = {group: [n for n, feature in enumerate(FEATURES) if feature.group == group] for group in GROUPS}
_TEXT, _PAIRS = GROUPS.index("text"), GROUPS.index("pairs")


class Chosen(NamedTuple):
    """What one batch's answers hold, shopper after shopper."""

    counts: Sequence[int]
    """Items of each shopper's answer."""
    rows: Ints
    """[all items]."""
    shares: npt.NDArray[np.float64]
    """[all items, features + 1], as ``Ranker.shares``."""
    scores: npt.NDArray[np.float64]
    """[all items]."""


def by_group(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64 [items, groups]: the shares of the features of each of ``GROUPS``."""
    return np.stack([shares[:, places].sum(axis=1) for places in _PLACES.values()], axis=1)


def explain_learned(
    chosen: Chosen,
    embeddings: Sequence[Embedding],
    batch: Batch,
    first: int,
    catalogue: Catalogue,
    together: NeighbourTable,
    related: NeighbourTable,
    most: int,
) -> list[Reasons]:
    """For each shopper the ``most`` largest reasons of each item, and what is left. ``first`` is the place of the first of these
    shoppers in the batch."""
    if not most:
        return [Reasons([], np.zeros((count, 0), np.uint16), np.zeros((count, 0), np.float32)) for count in chosen.counts]
    from encoders.kernels import reason_shares

    users = np.repeat(np.arange(len(chosen.counts)), chosen.counts) + first
    owners = _owners(batch, users, chosen.rows, catalogue, together, related)
    row_begins = _begins(chosen.counts)
    parts = _begins([len(embedding.coefficients) for embedding in embeddings])
    coefficients = np.concatenate([embedding.coefficients for embedding in embeddings])
    items = batch.begins[first : first + len(embeddings) + 1]
    queries = [vector for embedding in embeddings for vector in embedding.queries]
    asked = np.stack(queries) if queries else np.zeros((0, catalogue.vectors.shape[1]), np.float32)
    places, values = np.empty((len(chosen.rows), most), np.int64), np.empty((len(chosen.rows), most), np.float32)
    reason_shares.largest(
        row_begins, chosen.rows, by_group(chosen.shares), _TEXT, _PAIRS,
        parts, coefficients, items, batch.rows, asked, catalogue.vectors, owners, places, values,
    )  # fmt: skip
    numbers, distinct = np.zeros((len(places), most + 1), np.uint16), np.empty(places.size, np.int64)
    counts, width = np.empty(len(embeddings), np.int64), int((np.diff(parts) + np.diff(items)).max()) + len(GROUPS)
    reason_shares.numbered(row_begins, places, width, numbers, counts, distinct)
    rest = (chosen.scores - values.sum(axis=1, dtype=np.float64)).astype(np.float32)
    shares = np.hstack((values, rest[:, None]))
    reasons, start = [], 0
    for embedding, begin, end, count in zip(embeddings, row_begins[:-1].tolist(), row_begins[1:].tolist(), counts.tolist(), strict=True):
        sources = [_source(embedding, place) for place in distinct[start : start + count].tolist()]
        start += count
        own, own_shares = numbers[begin:end], shares[begin:end]
        own[:, -1] = len(sources)
        least = len(embedding.coefficients) + len(embedding.items) + len(GROUPS)
        if least < most:  # there are no more
            own, own_shares = np.delete(own, np.s_[least:most], axis=1), np.delete(own_shares, np.s_[least:most], axis=1)
        reasons.append(Reasons([*sources, Source("other")], own, own_shares))
    return reasons


def _begins(counts: Sequence[int]) -> Ints:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def _owners(
    batch: Batch, users: Ints, rows: Ints, catalogue: Catalogue, together: NeighbourTable, related: NeighbourTable
) -> npt.NDArray[np.float64]:
    """[items, longest history]: the weights of the pairs of each item of the history with each chosen item."""
    from encoders.kernels import pair_sums

    longest = int(np.diff(batch.begins).max(initial=0))
    found = np.zeros((len(rows), longest))
    for table, weights in ((together, batch.shares), (related, batch.weights)):
        known = table.neighbours
        if len(known.others) and longest:
            numbers, rows_of = table.numbers_of(catalogue)[batch.rows], table.rows_of(catalogue)
            pair_sums.parts(batch.begins, numbers, weights, *known, rows_of, users, rows, found)
    return found


def _source(embedding: Embedding, place: int) -> Source:
    parts, items = len(embedding.coefficients), len(embedding.items)
    if place < parts:
        return embedding.source(place)
    if place < parts + items:
        return Source("together", embedding.items[place - parts], embedding.event_types[place - parts])
    return Source(GROUPS[place - parts - items])
