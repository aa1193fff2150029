"""Splits pairs by time, for training, fitting and judging. Never at random, because a model is used on what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Slice = Literal["train", "validation", "test", "old"]


class OldSlice(NamedTuple):
    """The slice that shows forgetting: all pairs of a fixed part of the shoppers in a fixed window of time. It is chosen once, kept
    with the first model, and never trained on. So all later models are judged on the same pairs.
    """

    from_ms: int
    until_ms: int
    """Exclusive."""
    share: float = 0.1
    """Of the shoppers."""

    def holds(self, pseudonym: str, at_ms: int) -> bool:
        """By hash, so that no list of shoppers has to be kept."""
        if not self.from_ms <= at_ms < self.until_ms:
            return False
        digest = blake2b(pseudonym.encode(), digest_size=8, person=b"vs.oldslice").digest()
        return int.from_bytes(digest, "big") < self.share * 2.0**64


class Cuts(NamedTuple):
    """Moments, milliseconds: train before the first, validation until the second, test from there on."""

    validation_from_ms: int
    test_from_ms: int

    def slice_of(self, pseudonym: str, at_ms: int, old: OldSlice | None = None) -> Slice:
        """The slice of a pair. Validation and test come before the old slice, because new pairs can't show forgetting."""
        if at_ms >= self.test_from_ms:
            return "test"
        if at_ms >= self.validation_from_ms:
            return "validation"
        return "old" if old is not None and old.holds(pseudonym, at_ms) else "train"


class Slices(NamedTuple):
    """Places of the pairs, intp [pairs of the slice] each, in the order of time."""

    train: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]
    old: npt.NDArray[np.intp]


def cuts(times_ms: npt.NDArray[np.int64], *, validation: float = 0.1, test: float = 0.1) -> Cuts:
    """Cuts that leave the newest ``test`` and, before them, ``validation`` shares of the pairs; pairs of one moment stay together, on
    the newer side. Raises ValueError if there are no pairs, or shares that leave nothing to train on."""
    if not len(times_ms):
        raise ValueError("no pairs to split")
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError("the shares of validation and test must not be negative and must leave something to train on")
    ordered = np.sort(times_ms)
    last = len(ordered)
    places = [min(last - 1, int(last * (1 - share))) for share in (validation + test, test)]
    first, second = (int(ordered[place]) for place in places)
    return Cuts(first, second if test else int(ordered[-1]) + 1)


def split(times_ms: npt.NDArray[np.int64], pseudonyms: Sequence[str], where: Cuts, old: OldSlice | None = None) -> Slices:
    """Every pair in exactly one slice. Raises ValueError if lengths differ."""
    names = [where.slice_of(pseudonym, at_ms, old) for pseudonym, at_ms in zip(pseudonyms, times_ms.tolist(), strict=True)]
    order = np.argsort(times_ms, kind="stable")
    own = np.array(names, dtype=np.str_)[order]
    return Slices(*(order[own == name] for name in Slices._fields))
