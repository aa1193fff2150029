"""A compiled loop from the numbers of candidates to their levels, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels.compiling import compiler

LINEAR, ROOT, LOG = range(3)


@compiler((), "levels of features")
def quantise(values: Any, logs: Any, curves: Any, lows: Any, highs: Any, scales: Any, out: Any) -> None:
    """``out`` uint8 [pairs, features] of ``values`` float32 [pairs, features]: (curve(value) - low) · scale, rounded to the nearest, halves
    to even; off the scale its ends, and 0 for what is not a number.

    ``curves`` int64, ``lows``, ``highs`` and ``scales`` float32 [features]. ROOT is the root with its sign. For LOG the logarithms are in
    ``logs`` float32 [pairs, features with LOG], in the features' order: numpy takes many at once.
    """
    for pair in range(values.shape[0]):
        log = 0
        for feature in range(values.shape[1]):
            value = values[pair, feature]
            curve = curves[feature]
            if curve == ROOT:
                value = np.float32(np.copysign(np.sqrt(np.abs(value)), value))
            elif curve == LOG:
                value = logs[pair, log]
                log += 1
            if np.isnan(value):
                out[pair, feature] = 0
            else:
                clipped = min(max(value, lows[feature]), highs[feature])
                out[pair, feature] = np.uint8(np.rint((clipped - lows[feature]) * scales[feature]))
