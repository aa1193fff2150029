"""The rolling embedding of a shopper: u = normalise(Σ wᵢ · 2^(-Δtᵢ / half-life) · vᵢ) over the history.

It is kept as its parts: u = Σ cᵢ · vᵢ, with the norm inside the coefficients. The parts are also the reasons, because
cos(u, v) = Σ cᵢ · (vᵢ · v), exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.request import Entry, Request, Source
from streams.ranking.rules import SEARCH

_CANCELLED = 1e-5
"""A sum of vectors this much shorter than its parts is rounding noise, not a direction."""


class Vectors(Protocol):
    """The part of the item matrix that is read here."""

    @property
    def dimension(self) -> int: ...
    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def vectors(self) -> FloatArray: ...


class Embedding(NamedTuple):
    """A shopper's vector and what it is made of: items first, then queries, last the search itself."""

    vector: FloatArray
    """float32 [dimension], of unit length. Zero if nothing is known of the shopper."""
    coefficients: FloatArray
    """float32 [parts]; vector = coefficients @ parts, but for rounding."""
    items: Sequence[str]
    """The first parts' items."""
    rows: npt.NDArray[np.intp]
    """Their rows in the catalogue."""
    queries: Sequence[FloatArray]
    """The other parts' vectors."""
    event_types: Sequence[int]
    """Of all parts."""

    def parts(self, catalogue: Vectors, scratch: FloatArray) -> FloatArray:
        """float32 [parts, dimension], written to the beginning of ``scratch``."""
        return _gather(self.rows, self.queries, catalogue, scratch)

    def source(self, place: int) -> Source:
        """What a part stands for. The place after the last one is popularity's, and those behind it are the items' again: what is bought
        together with them."""
        parts = len(self.coefficients)
        if place == parts:
            return Source("popularity")
        if place == parts + 1 + len(self.items):
            return Source("match", None, SEARCH)
        if place > parts:
            return Source("together", self.items[place - parts - 1], self.event_types[place - parts - 1])
        if place < len(self.items):
            return Source("item", self.items[place], self.event_types[place])
        return Source("query", None, self.event_types[place])


def scratch_for(requests: Sequence[Request], dimension: int) -> FloatArray:
    """Memory for the parts of any one request. The shoppers use it one after another, so it stays in the processor's cache. This is
    eight times as fast as gathering the vectors of all shoppers at once.
    """
    most = max((len(request.items) + len(request.queries) for request in requests), default=0)
    return np.empty((most + 1, dimension), np.float32)


def embed(
    request: Request, catalogue: Vectors, queries: Mapping[str, FloatArray], scratch: FloatArray, *, half_life_ms: float, blend: float
) -> Embedding:
    """The vector of a request: that of the history, and for a search blend · query + (1 - blend) · history.

    ``queries`` holds the vectors of query texts. Unknown items, and queries without a vector, are left out.
    """
    items, entries, rows = request.items, request.item_entries, list(map(catalogue.rows.get, request.items))
    if None in rows:
        known = [place for place, row in enumerate(rows) if row is not None]
        items, entries, rows = [items[p] for p in known], [entries[p] for p in known], [rows[p] for p in known]
    if request.queries:
        known_queries = [(text, entry) for text, entry in request.queries if text in queries]
        entries = entries + [entry for _, entry in known_queries]
        own = [queries[text] for text, _ in known_queries]
    else:
        own = []
    asked = None if request.query is None else queries.get(request.query)
    if asked is not None:
        own.append(asked)

    places = np.array(rows, np.intp)
    vectors = _gather(places, own, catalogue, scratch)
    event_types = [entry.event_type for entry in entries]
    weights = _decayed(entries, half_life_ms)
    coefficients, vector = _unit(np.array(weights, np.float32), vectors[: len(entries)], sum(map(abs, weights)))
    if asked is not None:
        share = blend if vector.any() else 1.0
        blended = np.append(coefficients * np.float32(1.0 - share), np.float32(share))
        coefficients, vector = _unit(blended, vectors, float(np.abs(blended).sum()))
        event_types.append(SEARCH)
    return Embedding(vector, coefficients, items, places, own, event_types)


def _gather(rows: npt.NDArray[np.intp], queries: Sequence[FloatArray], catalogue: Vectors, scratch: FloatArray) -> FloatArray:
    count = len(rows)
    catalogue.vectors.take(rows, axis=0, out=scratch[:count], mode="clip")
    for place, vector in enumerate(queries, start=count):
        scratch[place] = vector
    return scratch[: count + len(queries)]


def _decayed(entries: Sequence[Entry], half_life_ms: float) -> list[float]:
    """Their weights at the newest element's time: any later time would only add a factor that normalising takes away again."""
    newest = max([entry.time_ms for entry in entries], default=0)
    return [entry.weight * 2.0 ** ((entry.time_ms - newest) / half_life_ms) for entry in entries]


def _unit(coefficients: FloatArray, vectors: FloatArray, magnitude: float) -> tuple[FloatArray, FloatArray]:
    """Coefficients scaled so that their sum of vectors has unit length, and that sum; zeros where the vectors cancel each other.
    ``magnitude`` is the sum of the coefficients' absolute values."""
    total = coefficients @ vectors
    norm = sqrt(total @ total)
    if norm <= _CANCELLED * magnitude:
        return np.zeros_like(coefficients), np.zeros_like(total)
    return coefficients / norm, total / norm
