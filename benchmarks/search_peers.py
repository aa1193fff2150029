"""Other ways to the candidates, each as an index that the ranking can use (``streams.engine.ports.CandidateScan``).

The popularity prior is one coordinate more of an item's vector, where the query has a 1. (With ln(1 + count) there and the weight in the
query, which ranks the same, popular items would be far from all others, and the graphs would find less.) An index knows no user's
exclusions, so it is asked for as many more as the users have; what is out of stock would be taken out of it (nothing is, here).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np
from usearch.index import Index, MetricKind
from usearch.index import search as usearch_exact

from encoders.nearest.candidates import CandidatePairs
from streams.engine.ports import CandidateScan

_BLOCK = 16_384
_ADDED_AT_ONCE = 65_536


class Catalogue(NamedTuple):
    """What an index is made of."""

    vectors: Any
    """float32 [items, dimension], of unit length"""
    prior: Any
    """float32 [items]"""

    def rows(self, chosen: Any, *, of_one_length: bool = False) -> Any:
        """float32 [chosen, dimension + 1]; for a graph, one coordinate more makes all of one length, and queries have a 0 there: the order
        by inner product is then that by distance, for which graphs are made (Bachrach et al., RecSys 2014)."""
        columns = [self.vectors[chosen], self.prior[chosen]]
        if of_one_length:
            columns.append(np.sqrt(np.maximum(self.prior.max() ** 2 - self.prior[chosen] ** 2, 0)))
        return np.ascontiguousarray(np.column_stack(columns), np.float32)

    def parts(self, *, of_one_length: bool = False) -> Iterator[tuple[int, Any]]:
        """(first row, ``rows``), part by part: no second copy of the whole is made."""
        for first in range(0, len(self.vectors), _ADDED_AT_ONCE):
            yield first, self.rows(slice(first, first + _ADDED_AT_ONCE), of_one_length=of_one_length)

    def queries(self, users: Any, width: int) -> Any:
        queries = np.zeros((len(users), width), np.float32)
        queries[:, : users.shape[1]] = users
        queries[:, users.shape[1]] = 1.0
        return queries


class Peer:
    """An index whose search gives each query's ``most`` best: int64 [queries, most], below 0 for none."""

    def __init__(self, catalogue: Catalogue, search: Callable[[Any, int], Any], *, more: int = 1) -> None:
        """``more``: coordinates than a user's vector has."""
        self._catalogue = catalogue
        self._search = search
        self._width = catalogue.vectors.shape[1] + more

    def put(self, rows: Any, vectors: Any, /) -> None:
        raise NotImplementedError("made once, in the benchmark")

    def candidates(self, users: Any, wanted: Any, *, prior: Any, masked: Any, floor: float) -> CandidatePairs:
        """The threshold and the exclusions are applied by the ranking."""
        del prior, floor
        assert not len(masked)
        found = np.asarray(self._search(self._catalogue.queries(users, self._width), int(wanted.max()))).astype(np.int64)
        user, place = np.nonzero(found >= 0)
        return CandidatePairs(user, found[user, place])


class Made(NamedTuple):
    """An index, and how it is set to look at more (None where it looks at all)."""

    index: CandidateScan
    look_at: Callable[[int], None] | None = None


def numpy_blocks(catalogue: Catalogue) -> Made:
    """Exact: the whole fp32 product in blocks; of each only items better than some user's last so far are looked at again."""

    def search(queries: Any, most: int) -> Any:
        users = np.ascontiguousarray(queries[:, :-1])
        rows, best = np.zeros((len(users), 0), np.int64), np.zeros((len(users), 0), np.float32)
        for first in range(0, len(catalogue.vectors), _BLOCK):
            scores = users @ catalogue.vectors[first : first + _BLOCK].T
            scores += catalogue.prior[first : first + _BLOCK]
            if best.shape[1] == most:
                better = np.flatnonzero((scores > best.min(axis=1, keepdims=True)).any(axis=0))
                scores = scores[:, better]
            else:
                better = np.arange(scores.shape[1])
            rows = np.concatenate((rows, np.broadcast_to(better + first, scores.shape)), axis=1)
            best = np.concatenate((best, scores), axis=1)
            if best.shape[1] > most:
                places = np.argpartition(best, best.shape[1] - most, axis=1)[:, -most:]
                rows, best = np.take_along_axis(rows, places, axis=1), np.take_along_axis(best, places, axis=1)
        return rows

    return Made(Peer(catalogue, search))


def faiss_flat(catalogue: Catalogue) -> Made:
    """Exact."""
    index = faiss.IndexFlatIP(catalogue.vectors.shape[1] + 1)
    for _, part in catalogue.parts():
        index.add(part)
    return Made(Peer(catalogue, lambda queries, most: index.search(queries, min(most, index.ntotal))[1]))


def faiss_ivf(catalogue: Catalogue) -> Made:
    """Inverted lists: 4·√n of them, the fewest that faiss's guidelines name, trained on 39 vectors a list, the fewest without a warning."""
    items, width = len(catalogue.vectors), catalogue.vectors.shape[1] + 1
    lists = min(2 ** round(np.log2(4 * items**0.5)), items // 39)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    chosen = np.sort(np.random.default_rng(7).choice(items, min(items, 39 * lists), replace=False))
    index.train(catalogue.rows(chosen))
    for _, part in catalogue.parts():
        index.add(part)
    return Made(Peer(catalogue, lambda queries, most: index.search(queries, most)[1]), lambda number: setattr(index, "nprobe", number))


def faiss_hnsw(catalogue: Catalogue) -> Made:
    """A graph of 32 links a node, as faiss's guidelines name it, made with its default efConstruction of 40."""
    index = faiss.IndexHNSWFlat(catalogue.vectors.shape[1] + 2, 32, faiss.METRIC_L2)
    for _, part in catalogue.parts(of_one_length=True):
        index.add(part)
    return Made(
        Peer(catalogue, lambda queries, most: index.search(queries, most)[1], more=2),
        lambda number: setattr(index.hnsw, "efSearch", number),
    )


def usearch_flat(catalogue: Catalogue) -> Made:
    """usearch's exact search over a matrix."""
    whole = np.concatenate([part for _, part in catalogue.parts()])
    return Made(Peer(catalogue, lambda queries, most: usearch_exact(whole, queries, most, MetricKind.IP, exact=True).keys))


def usearch_hnsw(catalogue: Catalogue) -> Made:
    """usearch's graph, with its own defaults: 16 links, an expansion of 128, and bf16 where the processor has it."""
    index = Index(ndim=catalogue.vectors.shape[1] + 2, metric=MetricKind.L2sq)
    for first, part in catalogue.parts(of_one_length=True):
        index.add(np.arange(first, first + len(part)), part)

    def search(queries: Any, most: int) -> Any:
        found = index.search(queries, most)
        rows = np.asarray(found.keys).astype(np.int64)
        return np.where(np.arange(rows.shape[1]) < np.asarray(found.counts)[:, None], rows, -1)

    return Made(Peer(catalogue, search, more=2), lambda number: setattr(index, "expansion_search", number))


EXACT = {"numpy, in blocks": numpy_blocks, "faiss IndexFlatIP": faiss_flat, "usearch exact": usearch_flat}
INDEXES = {"faiss IVF": faiss_ivf, "faiss HNSW": faiss_hnsw, "usearch HNSW": usearch_hnsw}
