"""The reasons of recommended items: exact shares of their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.embedding import Embedding
from streams.ranking.request import Source
from streams.ranking.together_table import Together


class Reasons(NamedTuple):
    """One request's reasons, for all its recommended items."""

    sources: list[Source]
    places: npt.NDArray[np.uint16]
    """[items, reasons], into ``sources``."""
    shares: FloatArray
    """float32 [items, reasons], largest first."""


class Added(NamedTuple):
    """What is added to the cosines and priors."""

    rows: npt.NDArray[np.intp]
    """[all items]: their rows in the item matrix; different ones in each request."""
    together: Sequence[Together]
    """One a request: what is bought together with its history."""
    weight: float
    """Of the former."""
    matches: FloatArray
    """[all items]: what the letters of a query add."""

    def adds(self, request: int, own: slice) -> bool:
        """Whether anything is added to a request's items."""
        return bool(len(self.together[request].rows) or self.matches[own].any())


def explain(
    embeddings: Sequence[Embedding],
    parts_of: Callable[[Embedding], FloatArray],
    *,
    counts: Sequence[int],
    vectors: FloatArray,
    priors: FloatArray,
    most: int,
    added: Added | None = None,
) -> list[Reasons]:
    """For each request the ``most`` largest shares of each of its items' scores.

    ``parts_of`` gives the vectors of an embedding's parts; they are used before the next ones are asked for. ``counts`` says how many
    items each request got. ``vectors`` [all items, dimension] are theirs, ``priors`` [all items] what popularity adds, ``added`` what
    else is added. An item's cosine is the sum over the embedding's parts of coefficient · (part · item). With popularity's part and
    those of ``added``, all shares add up to the score. There are fewer reasons if there are fewer parts.
    """
    ends = list(accumulate(counts))
    owned = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]
    adds = [added is not None and added.adds(place, own) for place, own in enumerate(owned)]
    widths = [len(one.coefficients) + 1 + (len(one.items) + 1 if more else 0) for one, more in zip(embeddings, adds, strict=True)]
    shares = np.full((len(vectors), max(widths)), -np.inf, np.float32)
    for place, (embedding, own, more) in enumerate(zip(embeddings, owned, adds, strict=True)):
        if own.stop > own.start:
            parts = len(embedding.coefficients)
            np.multiply(vectors[own] @ parts_of(embedding).T, embedding.coefficients, out=shares[own, :parts])
            shares[own, parts] = priors[own]
            if added is not None and more:
                items = len(embedding.items)
                shares[own, parts + 1 : parts + 1 + items] = _together(added.together[place], added.rows[own], items, added.weight)
                shares[own, parts + 1 + items] = added.matches[own]
    places, values = largest(shares, min(most, max(widths)))
    reasons = []
    for embedding, own, width in zip(embeddings, owned, widths, strict=True):
        columns = slice(min(most, width))
        reasons.append(_compact(embedding, places[own, columns], values[own, columns]))
    return reasons


def _together(added: Together, rows: npt.NDArray[np.intp], items: int, weight: float) -> FloatArray:
    """float32 [rows, items]: what each item of the history adds to each row for being bought together."""
    order = np.argsort(rows)
    places = np.minimum(np.searchsorted(rows[order], added.rows), len(rows) - 1)
    own = np.flatnonzero(rows[order[places]] == added.rows)
    cells = order[places[own]] * items + added.owners[own]
    found = np.bincount(cells, added.values[own] * np.float32(weight), minlength=len(rows) * items)
    return found.reshape(len(rows), items).astype(np.float32)


def largest(shares: FloatArray, most: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Places and values of the largest shares of each row, largest first, equal ones by place. Overwrites ``shares``.

    A few passes over all rows beat sorting them; and unlike partitioning they treat equals alike whatever the rows' width.
    """
    rows = np.arange(len(shares))
    places = np.empty((len(shares), most), np.intp)
    values = np.empty((len(shares), most), np.float32)
    for column in range(most):
        places[:, column] = best = shares.argmax(axis=1)
        values[:, column] = shares[rows, best]
        shares[rows, best] = -np.inf
    return places, values


def _compact(embedding: Embedding, places: npt.NDArray[np.intp], shares: FloatArray) -> Reasons:
    flat = places.ravel().tolist()
    index = {place: n for n, place in enumerate(dict.fromkeys(flat))}
    sources = [embedding.source(place) for place in index]
    return Reasons(sources, np.array([index[place] for place in flat], np.uint16).reshape(places.shape), shares)
