"""Chance that a replay meets again: numbers that are a function of an event and of what they are for, and draws from a Beta distribution.

The numbers are those of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), so they do not change
with a library's version. A gamma is drawn by Wilson and Hilferty's approximation ("The distribution of chi-square", 1931) at a shape of
one more, where it is close, times u^(1/shape), which is exact; so no draw is ever rejected, and all are made at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LEAST = 1e-3
"""Least shape of a gamma: less would be 0 nearly always."""


def mixed(words: Words) -> Words:
    """uint64 of any shape: SplitMix64's finaliser."""
    with np.errstate(over="ignore"):
        found = words + _GOLDEN
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(found ^ (found >> np.uint64(31)), np.uint64)


def uniform(seeds: Words, about: Words, number: int) -> Floats:
    """float64 between 0 and 1, neither of them: the ``number``-th of each seed and what it is ``about``; the two broadcast."""
    words = mixed(mixed(seeds) ^ mixed(about ^ mixed(np.asarray(number, np.uint64))))
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def beta(seeds: Words, about: Words, mean: Floats, strength: Floats) -> Floats:
    """float64 from 0 to 1: one draw from Beta(mean · strength, (1 - mean) · strength) for each; means from 0 to 1, strengths above 0."""
    first = _gamma(seeds, about, 0, mean * strength)
    second = _gamma(seeds, about, 3, (1.0 - mean) * strength)
    return np.asarray(first / np.maximum(first + second, 1e-300))


def _gamma(seeds: Words, about: Words, number: int, shape: Floats) -> Floats:
    shape = np.maximum(shape, _LEAST)
    one, two, three = (uniform(seeds, about, number + n) for n in range(3))
    normal = np.sqrt(-2.0 * np.log(one)) * np.cos(2.0 * np.pi * two)
    whole = shape + 1.0
    cube = np.maximum(1.0 - 1.0 / (9.0 * whole) + normal / (3.0 * np.sqrt(whole)), 0.0)
    return np.asarray(whole * cube**3 * three ** (1.0 / shape))
