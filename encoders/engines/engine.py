"""The interface of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What encoding took."""

    tokens: int
    padding: int
    """Positions computed beside the tokens."""


class Engine(Protocol):
    """Rows of tokens to unit vectors. ``lanes`` threads may call ``forward`` at once; more gain nothing."""

    @property
    def name(self) -> str: ...
    @property
    def lanes(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    @property
    def batch_tokens(self) -> int:
        """Most tokens that a call should have, padding included: beyond, it is no faster."""
        ...

    def forward(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, int]:
        """float32 [len(rows), dimension], unit length, in the order of rows; and the padded positions computed beside the tokens."""
        ...
