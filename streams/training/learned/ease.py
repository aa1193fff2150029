"""EASE: the weights by which a history foretells items, in closed form (Steck, "Embarrassingly shallow autoencoders for sparse data",
WWW 2019), bounded and anonymous.

The inverse of a matrix of items by items costs their number cubed. So a large catalogue is solved item by item (``local_ease.py``).
"""

from __future__ import annotations

import numpy as np

from streams.ranking.learned.related import RelatedItems, bounded, nothing_related
from streams.training.learned.local_ease import LocalRule, fit_local
from streams.training.learned.past import Interactions

LAMBDA = 300.0
MOST_ITEMS = 8000
"""With more items that enough shoppers turned to, each item is solved for by itself."""
NEIGHBOURS = 128
"""Kept for an item."""


def fit_related(known: Interactions, *, shoppers: int, local: bool) -> RelatedItems:
    """The weights, by the way that suits the catalogue. A ranker's moments must all go the same way: the weights of the two are not on the
    same scale."""
    return fit_local(known, LocalRule(), shoppers=shoppers) if local else fit_ease(known, shoppers=shoppers)


def fit_ease(known: Interactions, *, shoppers: int, most_items: int = MOST_ITEMS) -> RelatedItems:
    """B = -P / diag(P) without its diagonal, P = (XᵀX + λI)⁻¹, X [shoppers, items] the decayed weights, of the ``most_items`` most
    frequent. A pair of items that fewer than ``shoppers`` shoppers share has no weight: it would tell of single persons."""
    from scipy import sparse

    if not len(known.items):
        return nothing_related()
    counts = np.bincount(known.items, minlength=len(known.names))
    chosen = np.argsort(-counts, kind="stable")[:most_items]
    place = np.full(len(known.names), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    inside = place[known.items] >= 0
    shape = (known.people, len(chosen))
    index = (known.shoppers[inside], place[known.items[inside]])
    matrix = sparse.csr_matrix((known.weights[inside], index), shape)
    gram = np.asarray((matrix.T @ matrix).todense())
    gram[np.diag_indices(len(chosen))] += LAMBDA
    inverse = np.linalg.inv(gram)
    weights = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    ones = sparse.csr_matrix((np.ones(int(inside.sum()), np.float32), index), shape)
    weights[np.asarray((ones.T @ ones).todense()) < shoppers] = 0.0
    return RelatedItems([known.names[n] for n in chosen.tolist()], bounded(weights, NEIGHBOURS))
