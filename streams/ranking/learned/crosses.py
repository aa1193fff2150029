"""Pairs of features that say something together: a table over two of them, each in a few bins of levels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.features import FEATURES, LEVELS, Levels

BINS = 16
"""Of each of the two features; a cell of the table is a byte."""


class Crosses(NamedTuple):
    """Each is a curve of its first feature that depends on the second: what it adds is the first one's share."""

    features: npt.NDArray[np.uint8]
    """[crosses, 2]."""
    bins: npt.NDArray[np.uint8]
    """[crosses, 2, levels]: the bin of each level."""
    tables: npt.NDArray[np.float32]
    """[crosses, cells]: cell = bin of the first feature · ``BINS`` + bin of the second."""

    def cells(self, levels: Levels) -> Levels:
        """uint8 [pairs, crosses] of levels [pairs, features]."""
        found = np.empty((len(levels), len(self.features)), np.uint8)
        for number, ((first, second), (rough, fine)) in enumerate(zip(self.features, self.bins, strict=True)):
            np.add(rough.take(levels[:, first]) * np.uint8(BINS), fine.take(levels[:, second]), out=found[:, number])
        return found

    def check(self) -> None:
        """Raises ValueError for what is of another form."""
        count = len(self.features)
        shapes = ((count, 2), (count, 2, LEVELS), (count, BINS * BINS))
        if tuple(array.shape for array in self) != shapes or (self.features >= len(FEATURES)).any() or (self.bins >= BINS).any():
            raise ValueError("its tables of two features are of another form")


def no_crosses() -> Crosses:
    """Of a ranker whose features act by themselves."""
    return Crosses(np.zeros((0, 2), np.uint8), np.zeros((0, 2, LEVELS), np.uint8), np.zeros((0, BINS * BINS), np.float32))
