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
from streams.ranking.together_table import NOTHING, Together


class Reasons(NamedTuple):
    """One request's reasons, for all its recommended items."""

    sources: list[Source]
    places: npt.NDArray[np.uint16]
    """[items, reasons], into ``sources``."""
    shares: FloatArray
    """float32 [items, reasons], largest first."""


class BoughtTogether(NamedTuple):
    """What is bought together with the histories' items."""

    rows: npt.NDArray[np.intp]
    """[all items]: their rows in the item matrix; different ones in each request."""
    parts: Sequence[Together]
    """One a request."""
    weight: float


def explain(
    embeddings: Sequence[Embedding],
    parts_of: Callable[[Embedding], FloatArray],
    *,
    counts: Sequence[int],
    vectors: FloatArray,
    priors: FloatArray,
    most: int,
    bought: BoughtTogether | None = None,
) -> list[Reasons]:
    """For each request, the ``most`` largest shares of the score of each of its items.

    - ``parts_of`` gives the vectors of an embedding's parts. They are read before the next ones are requested.
    - ``counts``: number of items of each request.
    - ``vectors`` [all items, dimension]: the vectors of these items. ``priors`` [all items]: what popularity adds.

    The cosine of an item is the sum over the embedding's parts of coefficient · (part · item). With popularity's part all shares
    add up to the score. With fewer parts there are fewer reasons.
    """
    together = [NOTHING] * len(embeddings) if bought is None else bought.parts
    widths = [
        len(embedding.coefficients) + 1 + (len(embedding.items) if len(part.rows) else 0)
        for embedding, part in zip(embeddings, together, strict=True)
    ]
    ends = list(accumulate(counts))
    shares = np.full((len(vectors), max(widths)), -np.inf, np.float32)
    for embedding, added, count, end in zip(embeddings, together, counts, ends, strict=True):
        if count:
            own, parts = slice(end - count, end), len(embedding.coefficients)
            np.multiply(vectors[own] @ parts_of(embedding).T, embedding.coefficients, out=shares[own, :parts])
            shares[own, parts] = priors[own]
            if bought is not None and len(added.rows):
                items = len(embedding.items)
                shares[own, parts + 1 : parts + 1 + items] = _together(added, bought.rows[own], items, bought.weight)
    places, values = _largest(shares, min(most, max(widths)))
    reasons = []
    for embedding, width, count, end in zip(embeddings, widths, counts, ends, strict=True):
        own, columns = slice(end - count, end), slice(min(most, width))
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


def _largest(shares: FloatArray, most: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
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
