"""The few shapes that batches are padded to on an accelerator. It compiles, chooses kernels and keeps memory per shape.

Widths are 8, 16, and from there the powers of two with the middles between them (24, 32, 48, 64, ...), up to the model's longest row.
Rows are powers of two. With a budget of 2,048 and rows of up to 256 tokens there are at most 36 shapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

_NARROWEST = 8
"""And all widths but the longest are multiples of it: matrix units and attention's kernels want rows aligned to 16 bytes."""
_LEAST = 256
"""Positions below which a pass is taken to be no faster, as starting its kernels takes longer. Not measured on a GPU."""


@dataclass(frozen=True, slots=True)
class Shape:
    rows: int
    width: int

    @property
    def positions(self) -> int:
        return self.rows * self.width


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows ``start`` to ``stop`` (exclusive) of those given, padded to ``shape``."""

    start: int
    stop: int
    shape: Shape


class Buckets:
    """Pure rules for rows of at most ``longest`` tokens."""

    def __init__(self, longest: int) -> None:
        steps = (step for power in range(3, longest.bit_length() + 1) for step in (2**power, 3 * 2 ** (power - 1)))
        self._widths = (*(step for step in steps if step % _NARROWEST == 0 and step < longest), longest)

    def width(self, tokens: int) -> int:
        """The narrowest that holds so many tokens. Raises IndexError above ``longest``."""
        place = bisect_left(self._widths, tokens)
        width: int = self._widths[place]
        return width

    def batches(self, lengths: npt.NDArray[np.int64], budget: int) -> Iterator[Batch]:
        """All rows in order, in batches of at most ``budget`` positions, or of one row. ``lengths`` are at least 1 and descending.

        Each row is longer than half of its batch's width, or the batch has hardly more positions than the smallest useful pass. So
        at most 4 positions per token are computed (a row counts as 8 tokens at least), and 512 more for each halving of the longest
        row.
        """
        start = 0
        while start < len(lengths):
            width = self.width(int(lengths[start]))
            most = _power_below(max(1, budget // width))
            least = min(most, _power_above(-(-_LEAST // width)))
            # Lengths fall, so those longer than half the width come first.
            long = int(np.searchsorted(-lengths[start:], -(width // 2), side="left")) if width > _NARROWEST else len(lengths) - start
            count = min(most, max(long, least), len(lengths) - start)
            yield Batch(start, start + count, Shape(max(least, _power_above(count)), width))
            start += count


def _power_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _power_above(number: int) -> int:
    return 1 << (number - 1).bit_length()


class TokenBudget:
    """Shared by the lanes of an engine. It never rises again: what did not fit once is not tried twice."""

    def __init__(self, tokens: int, *, least: int) -> None:
        """It is not halved below ``least``, the positions of one row of the greatest width."""
        self._tokens = tokens
        self._least = least
        self._lock = Lock()

    @property
    def tokens(self) -> int:
        return self._tokens

    def halve(self, positions: int) -> bool:
        """After a pass of so many positions did not fit: whether there is now a smaller one to try.

        Lanes that fail together halve it once, not once each.
        """
        with self._lock:
            if self._tokens < positions:
                return True
            if self._tokens <= self._least:
                return False
            self._tokens = max(self._least, positions // 2)
            return True
