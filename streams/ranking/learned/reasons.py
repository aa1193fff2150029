"""The reasons of items that a ranker chose: its features' shares, those of text and pairs split over the history, exact in sum.

A share of text is split over the parts of the history in proportion to what each adds to the cosine, a share of pairs over the history's
items in proportion to the weights of the pairs; only what speaks for the item counts, and where nothing does, the share is told without
an item. The last reason of every item, of kind ``other``, is all that was left out: the reasons always add up to the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.embedding import Embedding
from streams.ranking.learned.batch import Batch, NeighbourTable
from streams.ranking.learned.features import FEATURES
from streams.ranking.prepared import Catalogue
from streams.ranking.reasons import Reasons, largest
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
    parts_of: Callable[[Embedding], FloatArray],
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
    groups = by_group(chosen.shares)
    users = np.repeat(np.arange(len(chosen.counts)), chosen.counts) + first
    owners = _owners(batch, users, chosen.rows, catalogue, together, related)
    reasons, start = [], 0
    for count, embedding in zip(chosen.counts, embeddings, strict=True):
        own = slice(start, start + count)
        start += count
        parts, items = len(embedding.coefficients), len(embedding.items)
        found = np.zeros((count, parts + items + len(GROUPS)))
        if count:
            found[:, parts + items :] = groups[own]
            if parts:
                text = catalogue.vectors[chosen.rows[own]] @ parts_of(embedding).T * embedding.coefficients
                found[:, :parts] = _split(groups[own, _TEXT], text.astype(np.float64))
                found[:, parts + items + _TEXT] -= found[:, :parts].sum(axis=1)
            if items:
                pairs = owners[own, :items]
                found[:, parts : parts + items] = _split(groups[own, _PAIRS], pairs)
                found[:, parts + items + _PAIRS] -= found[:, parts : parts + items].sum(axis=1)
        reasons.append(_compact(embedding, found, chosen.scores[own], most))
    return reasons


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
            numbers, rows_of = table.numbers(batch.items), table.rows_of(catalogue)
            pair_sums.parts(batch.begins, numbers, weights, *known, rows_of, users, rows, found)
    return found


def _split(amounts: npt.NDArray[np.float64], speaks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64 [items, parts]: each amount above 0 in proportion to what speaks for the item; nothing where nothing does."""
    speaks = np.maximum(speaks, 0.0)
    totals = speaks.sum(axis=1)
    found: npt.NDArray[np.float64] = speaks * np.where((totals > 0) & (amounts > 0), amounts / np.maximum(totals, 1e-30), 0.0)[:, None]
    return found


def _compact(embedding: Embedding, shares: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], most: int) -> Reasons:
    most = min(most, shares.shape[1])
    places, values = largest(shares.astype(np.float32), most)
    flat = places.ravel().tolist()
    index = {place: n for n, place in enumerate(dict.fromkeys(flat))}
    sources = [_source(embedding, place) for place in index]
    numbers = np.array([index[place] for place in flat], np.uint16).reshape(places.shape)
    rest = (scores - values.sum(axis=1, dtype=np.float64)).astype(np.float32)
    other = np.full((len(scores), 1), len(sources), np.uint16)
    return Reasons([*sources, Source("other")], np.hstack((numbers, other)), np.hstack((values, rest[:, None])))


def _source(embedding: Embedding, place: int) -> Source:
    parts, items = len(embedding.coefficients), len(embedding.items)
    if place < parts:
        return embedding.source(place)
    if place < parts + items:
        return Source("together", embedding.items[place - parts], embedding.event_types[place - parts])
    return Source(GROUPS[place - parts - items])
