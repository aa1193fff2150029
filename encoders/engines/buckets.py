"""The shapes that batches are padded to on an accelerator: few, so that what is compiled, chosen or captured for one is used again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STEPS = ((64, 8), (128, 16), (256, 32))
"""Up to so many tokens, widths are multiples of the second number; beyond, of 64."""
_LAST_STEP = 64


def widths(lengths: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.int64]:
    """Each length, at least 1 and at most ``longest``, rounded up to a width: by 7 tokens or an eighth of the width above 64 at most."""
    steps = np.full(lengths.shape, _LAST_STEP)
    for limit, step in reversed(_STEPS):
        steps[lengths <= limit] = step
    rounded: npt.NDArray[np.int64] = np.minimum(-(-lengths // steps) * steps, longest)
    return rounded


def most_rows(width: int, budget: int) -> int:
    """Rows of the largest batch of this width."""
    return max(1, budget // width)


def rows_to(count: int, most: int) -> int:
    """Rows that a batch of ``count`` is padded to: 2^n or 3 · 2^n, but not more than ``most``, the usual full batch."""
    size = 1 << (count - 1).bit_length()
    if size >= 4 and count <= size * 3 // 4:
        size = size * 3 // 4
    return min(size, most)


def pieces(rows: Sequence[Sequence[int]], longest: int, budget: int) -> list[slice]:
    """Rows (longest first, as they come) in runs that fit into ``budget`` padded tokens, or of one row."""
    found, start = [], 0
    while start < len(rows):
        width = int(widths(np.array([max(len(row) for row in rows[start:])]), longest)[0])
        found.append(slice(start, min(start + most_rows(width, budget), len(rows))))
        start = found[-1].stop
    return found
