"""Ways to weights between the items of a large catalogue, each given the same interactions; the product's own is ``local``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from streams.ranking.learned.related import RelatedItems
from streams.ranking.together_table import SHRINK, Neighbours
from streams.training.learned.ease import fit_ease
from streams.training.learned.local_ease import LocalRule, fit_local
from streams.training.learned.past import Interactions

SHOPPERS = 3
"""Two items that fewer share have no weight, as by the product's setting."""
KEPT = 128
RIDGE = LocalRule().ridge
BLOCK, DIRECTIONS, ROUNDS = 1000, 64, 15
"""Items of a community on average, and what they are found by: k-means of so many rounds in the largest directions of the matrix."""


class Method(NamedTuple):
    fit: Callable[[Interactions], RelatedItems]
    most: int
    """Items up to which it is run; more would take hours, or more than the memory."""


def local(known: Interactions) -> RelatedItems:
    """What the product does: a ridge regression an item on the items that go with it most."""
    return fit_local(known, LocalRule(), shoppers=SHOPPERS)


def frequent(known: Interactions) -> RelatedItems:
    """EASE's closed form over the 8,000 most frequent items; nothing for the others."""
    return fit_ease(known, shoppers=SHOPPERS)


def frequent_and_counts(known: Interactions) -> RelatedItems:
    """The same, and for pairs with any other item the ridge regression on that one item: count / (own square + λ)."""
    closed, count = fit_ease(known, shoppers=SHOPPERS), len(known.names)
    numbers = np.array([int(item) for item in closed.items])
    rows = np.repeat(numbers, np.diff(closed.neighbours.starts))
    inside = np.zeros(count, np.bool_)
    inside[numbers] = True
    weights = sparse.csr_matrix((closed.neighbours.strengths, (rows, numbers[closed.neighbours.others])), (count, count))
    gram = together(known).tocoo()
    square = squares(known)
    rest = ~(inside[gram.row] & inside[gram.col])
    own = sparse.csr_matrix((gram.data[rest] / (square[gram.row[rest]] + RIDGE), (gram.row[rest], gram.col[rest])), (count, count))
    return related(known, weights + own)


def counts(known: Interactions) -> RelatedItems:
    """Cosines of the items' shoppers, shrunk: item-kNN."""
    scale = sparse.diags(1.0 / np.sqrt(squares(known) + SHRINK))
    return related(known, scale @ together(known) @ scale)


def communities(known: Interactions) -> RelatedItems:
    """EASE's closed form within communities of items, found by spherical k-means in the largest directions of the matrix."""
    from scipy.sparse.linalg import svds

    count, generator = len(known.names), np.random.default_rng(0)
    scaled = matrix(known) @ sparse.diags(1.0 / np.sqrt(squares(known) + SHRINK))
    places = unit(svds(scaled, DIRECTIONS, random_state=generator)[2].T)
    blocks = max(1, count // BLOCK)
    middles = places[generator.choice(count, blocks, replace=False)]
    for _ in range(ROUNDS):
        owner = (places @ middles.T).argmax(axis=1)
        members = sparse.csr_matrix((np.ones(count), (owner, np.arange(count))), (blocks, count))
        middles = unit(np.asarray(members @ places))
    gram, parts = together(known, diagonal=True), []
    for block in range(blocks):
        own = np.flatnonzero(owner == block)
        if len(own):
            system = gram[own][:, own].toarray()
            inverse = np.linalg.inv(system + RIDGE * np.eye(len(own)))
            weights = np.where(system > 0, inverse / -np.diag(inverse), 0.0)
            np.fill_diagonal(weights, 0.0)
            row, column = np.nonzero(weights)
            parts.append((own[row], own[column], weights[row, column]))
    row, column, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return related(known, sparse.csr_matrix((values, (row, column)), (count, count)))


def incomplete(known: Interactions) -> RelatedItems:
    """As SANSA (Spišák et al., "Scalable approximate nonsymmetric autoencoder", RecSys 2023) an incomplete factor of the sparse matrix
    (here scipy's incomplete LU), and the inverse's columns by it."""
    from scipy.sparse.linalg import spilu

    count = len(known.names)
    gram = together(known, diagonal=True).tocsc()
    factor = spilu(
        gram + RIDGE * sparse.identity(count, format="csc"),
        drop_tol=1e-3,
        fill_factor=5,
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    parts = []
    for first in range(0, count, 64):
        some = np.arange(first, min(first + 64, count))
        ones = np.zeros((count, len(some)))
        ones[some, some - first] = 1.0
        columns = factor.solve(ones)
        for item in some.tolist():
            near = gram.indices[gram.indptr[item] : gram.indptr[item + 1]]
            near = near[near != item]
            parts.append((near, np.full(len(near), item), columns[near, item - first] / -columns[item, item - first]))
    row, column, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return related(known, sparse.csr_matrix((values, (row, column)), (count, count)))


METHODS = {
    "local": Method(local, 1 << 30),
    "counts": Method(counts, 300_000),
    "8,000 most frequent": Method(frequent, 30_000),
    "8,000 most frequent, and counts": Method(frequent_and_counts, 10_000),
    "communities": Method(communities, 30_000),
    "incomplete factor": Method(incomplete, 10_000),
}


def matrix(known: Interactions) -> Any:
    """float32 [shoppers, items]."""
    return sparse.csr_matrix((known.weights.astype(np.float32), (known.shoppers, known.items)), (known.people, len(known.names)))


def squares(known: Interactions) -> Any:
    """float64 [items]: Σ weight²."""
    return np.bincount(known.items, known.weights**2, minlength=len(known.names))


def together(known: Interactions, *, diagonal: bool = False) -> Any:
    """Sparse float32 [items, items]: Σ of the weights' products, of pairs that enough shoppers share."""
    weights = matrix(known)
    ones = weights.copy()
    ones.data[:] = 1.0
    gram = (weights.T @ weights).tocsr()
    shared = (ones.T @ ones).tocsr()
    shared.data = (shared.data >= SHOPPERS).astype(np.float32)
    gram = gram.multiply(shared).tocsr()
    gram.setdiag(squares(known) if diagonal else 0.0)
    gram.eliminate_zeros()
    return gram


def related(known: Interactions, weights: Any) -> RelatedItems:
    """Each row's largest."""
    weights = weights.tocsr()
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -np.abs(weights.data), rows))
    kept = np.sort(order[np.arange(len(order)) - weights.indptr[rows[order]] < KEPT])
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows[kept], minlength=weights.shape[0])))).astype(np.int64)
    return RelatedItems(known.names, Neighbours(starts, weights.indices[kept].astype(np.int64), weights.data[kept].astype(np.float32)))


def unit(vectors: Any) -> Any:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
