"""The space in which items are compared: the encoder's, without what all of a shop's items have in common.

A sentence encoder's vectors share a large common part (all of a shop's titles are somewhat alike), and a few directions in which they
differ far more than in the others. Both make cosines alike that should not be. So the mean is taken out, and every direction is
scaled to the same variance: whitening (Su, Cao, Liu, Ou, "Whitening sentence representations for better semantics and faster
retrieval", 2021). The covariance of few items says little, so it is drawn towards one that is alike in all directions (Ledoit and
Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004), as if ``SHRINK_COVARIANCE`` items of that kind
stood beside the catalogue's: a small catalogue is only centred, and nothing is ever divided by a variance of nothing. The
symmetric form (ZCA) is taken: it turns the vectors no more than it must, so a slightly changed catalogue changes them slightly.
What it is worth, and how the numbers were chosen: docs/decisions/0011.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SHRINK_MEAN = 50
"""A mean of few items is mostly the items themselves: it counts as if so many items without direction stood beside them."""
SHRINK_COVARIANCE = 1500
LEAST_ITEMS = 100
"""With fewer, scaling would change next to nothing, and only the mean is taken out."""
_ROWS = 8192
"""Rows that are worked on at a time: bounds the memory."""

FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


class ItemSpace(NamedTuple):
    """How an encoder's vector becomes one that is compared."""

    mean: FloatArray
    """float32 [dimension]."""
    scale: FloatArray | None
    """float32 [dimension, dimension], symmetric; None: the identity."""

    def transform(self, vectors: FloatArray) -> FloatArray:
        """Vectors [..., dimension] in this space, float32, of unit length; zero where nothing is left."""
        moved: FloatArray = vectors - self.mean
        if self.scale is not None:
            moved = moved @ self.scale
        return unit(moved)

    def transform_rows(self, vectors: FloatArray, out: FloatArray) -> None:
        """``transform`` of [rows, dimension] into ``out``, in bounded memory; rows of zeros stay zero."""
        for start in range(0, len(vectors), _ROWS):
            some: FloatArray = vectors[start : start + _ROWS]
            out[start : start + len(some)] = np.where(some.any(axis=1, keepdims=True), self.transform(some), np.float32(0))


def identity(dimension: int) -> ItemSpace:
    """The encoder's own space."""
    return ItemSpace(np.zeros(dimension, np.float32), None)


def fit(vectors: FloatArray) -> ItemSpace:
    """The space of a catalogue, from its unit vectors, float32 [rows, dimension]; rows of zeros don't count."""
    count, dimension = int(vectors.any(axis=1).sum()), vectors.shape[1]
    total: Floats = vectors.sum(axis=0, dtype=np.float64)
    mean: Floats = total / (count + SHRINK_MEAN)
    if count < LEAST_ITEMS:
        return ItemSpace(mean.astype(np.float32), None)
    products = np.zeros((dimension, dimension))
    for start in range(0, len(vectors), _ROWS):
        some = vectors[start : start + _ROWS]
        products += some.T @ some
    own = total / count
    variances, directions = np.linalg.eigh(products / count - np.outer(own, own))
    variances = np.maximum(variances, 0.0)
    average = float(variances.mean())
    if average <= np.finfo(np.float32).eps:  # all titles alike
        return ItemSpace(mean.astype(np.float32), None)
    shrunk = (count * variances + SHRINK_COVARIANCE * average) / (count + SHRINK_COVARIANCE)
    scale = (directions * np.sqrt(average / shrunk)) @ directions.T
    return ItemSpace(mean.astype(np.float32), scale.astype(np.float32))


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors [..., dimension] of unit length, float32; near zero they stay near zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = (vectors / np.maximum(norms, 1e-6)).astype(np.float32)
    return scaled
