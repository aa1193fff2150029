"""What an item's popularity adds to its cosine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray


def prior(counts: npt.NDArray[np.float64], weight: float) -> FloatArray:
    """weight · ln(1 + decayed count), float32, for counts of any shape.

    The score is cosine + prior. The logarithm: the hundredth purchase says less than the first.
    """
    return (weight * np.log1p(counts)).astype(np.float32)
