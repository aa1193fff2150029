"""The rolling embedding: u = normalise(Σ wᵢ · 2^(-Δtᵢ / half-life) · vᵢ) over the history.

It is kept as its parts, u = Σ cᵢ · vᵢ with the norm inside the coefficients, since these parts are also the reasons:
cos(u, v) = Σ cᵢ · (vᵢ · v), exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from streams.profile.events import SEARCH
from streams.profile.profile import Source
from streams.profile.request import Request
from streams.runtime.ports import FloatArray

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
    """float32 [dimension], of unit length; zero where nothing is known of the shopper."""
    vectors: FloatArray
    """float32 [parts, dimension]."""
    coefficients: FloatArray
    """float32 [parts]; vector = coefficients @ vectors, but for rounding."""
    items: Sequence[str]
    """The first parts' items."""
    event_types: Sequence[int]
    """Of all parts."""

    def source(self, place: int) -> Source:
        """What a part stands for; the place after the last one is popularity's."""
        if place == len(self.coefficients):
            return Source("popularity")
        if place < len(self.items):
            return Source("item", self.items[place], self.event_types[place])
        return Source("query", None, self.event_types[place])


def embed(request: Request, catalogue: Vectors, queries: Mapping[str, FloatArray], half_life_ms: float, blend: float) -> Embedding:
    """The vector that stands for a request: the history's, and for a search blend · query + (1 - blend) · history.

    ``queries`` holds the vectors of query texts. Items that the catalogue does not know and queries without vector are left out.
    One shopper at a time: her vectors stay in the processor's cache, eight times faster than gathering all shoppers' at once.
    """
    items, entries, rows = request.items, request.item_entries, list(map(catalogue.rows.get, request.items))
    if None in rows:
        known = [place for place, row in enumerate(rows) if row is not None]
        items, entries, rows = [items[p] for p in known], [entries[p] for p in known], [rows[p] for p in known]
    texts = [text for text, _ in request.queries if text in queries]
    entries = entries + [entry for text, entry in request.queries if text in queries]
    asked = None if request.query is None else queries.get(request.query)

    count = len(entries)
    vectors = np.empty((count + (asked is not None), catalogue.dimension), np.float32)
    catalogue.vectors.take(np.array(rows, np.intp), axis=0, out=vectors[: len(rows)], mode="clip")
    for place, text in enumerate(texts, start=len(rows)):
        vectors[place] = queries[text]
    weights, times, event_types = zip(*entries, strict=True) if entries else ((), (), ())
    coefficients, vector = _unit(_decayed(weights, times, half_life_ms), vectors[:count])
    if asked is not None:
        vectors[count] = asked
        share = blend if vector.any() else 1.0
        coefficients, vector = _unit(np.append(coefficients * np.float32(1.0 - share), np.float32(share)), vectors)
        event_types = (*event_types, SEARCH)
    return Embedding(vector, vectors, coefficients, items, event_types)


def _decayed(weights: Sequence[float], times_ms: Sequence[int], half_life_ms: float) -> FloatArray:
    """Weights at the newest element's time: any later time would only add a factor that normalising takes away again."""
    if not weights:
        return np.zeros(0, np.float32)
    halvings = (np.array(times_ms, np.float64) - max(times_ms)) / half_life_ms
    decayed: FloatArray = (np.array(weights) * np.exp2(halvings)).astype(np.float32)
    return decayed


def _unit(coefficients: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients scaled so that their sum of vectors has unit length, and that sum; zeros where the vectors cancel each other."""
    total = coefficients @ vectors
    norm = np.float32(np.sqrt(total @ total))
    if norm <= _CANCELLED * np.abs(coefficients).sum():
        return np.zeros_like(coefficients), np.zeros_like(total)
    return coefficients / norm, total / norm
