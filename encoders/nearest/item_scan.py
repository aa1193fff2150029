"""Candidates in a large catalogue: all items, as bytes, compared with all users in one pass.

Vectors are turned by one fixed random rotation, which makes their coordinates alike in size (about 1/√d each), and rounded to whole
quanta. A product of two roundings is off by about 0.002 in the cosine, whatever the vectors are, so a slack of six times that around
the k-th best leaves out next to nothing that belongs there; the exact score of what is kept decides. Nothing is trained, and an item can
be put at any time.

Two thirds of the coordinates, the head, are compared first. With x of unit length, whose head has the squared length a, and y = c·x + s·z
(z at right angles to x), the heads' product is a·c + s·e, where e has mean 0 and variance a·(1 - a)/d under the random rotation. So an
item whose head falls short of a times the k-th best by more than ``_HEAD_DEVIATIONS`` of those deviations is left out after two thirds of
the work: nearly all of them, at the price of at most one in 200 of those near the k-th best.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.engines.engine import Vectors
from encoders.kernels import scan as kernels
from encoders.kernels.scan_tile import UNROLLED
from encoders.nearest.candidates import CandidatePairs, Rows, pairs_of
from encoders.nearest.recall import recall_of

_ITEM_QUANTA = 63
"""Largest magnitude of an item's coordinate. As unsigned bytes they go to 126, so that a pair of products with signed bytes, at most
2 · 126 · 127, doesn't saturate 16 bits."""
_USER_QUANTA = 127
_LARGEST = 32_000
"""A whole score in quanta: below 2^15, with room for roundings. Sums on the way may wrap around; the last one is right again."""
_DEVIATIONS = 6.0
"""Coordinates of a rotated unit vector have a standard deviation of 1/√d; beyond this many they are cut off (one in 10^9), and this
many of a score's own deviations are its slack."""
_HEAD = 2 / 3
_HEAD_DEVIATIONS = 2.6
_WITHOUT_TAIL = 96
"""Dimensions up to which all is head: a few numbers tell too little."""
_RUN = 16_384
"""Rows that a thread takes at a time."""
_PUT_AT_ONCE = 65_536


class ItemScan:
    """Rows of unit vectors as bytes. For one thread at a time; ``candidates`` uses several of its own."""

    def __init__(self, dimension: int, *, threads: int | None = None) -> None:
        """``threads``: as many as there are processors for this process, by default."""
        self._dimension = dimension
        step = 2 * UNROLLED
        self._head = dimension if dimension <= _WITHOUT_TAIL else round(_HEAD * dimension / step) * step
        self._width = -(-self._head // step) * step
        """Of a head, filled up with zeros."""
        turned, triangle = np.linalg.qr(np.random.default_rng(20).standard_normal((dimension, dimension)))
        self._rotation = (turned * np.sign(np.diag(triangle))).astype(np.float32)
        self._item_quanta = min(math.sqrt(_LARGEST), _ITEM_QUANTA * math.sqrt(dimension) / _DEVIATIONS)
        self._heads = np.full((kernels.ITEMS, self._width), _ITEM_QUANTA, np.uint8)
        self._tail_width = -(-(dimension - self._head) // kernels.TAIL_STEP) * kernels.TAIL_STEP
        self._tails = np.full((kernels.ITEMS, self._tail_width), _ITEM_QUANTA, np.uint8)
        self._rows = 0
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = processors if threads is None else threads

    def __len__(self) -> int:
        """Rows, of which some may never have been put: those are zero vectors."""
        return self._rows

    def put(self, rows: Rows | slice, vectors: Vectors) -> None:
        """Set rows to unit (or zero) vectors, float32 [rows, dimension]."""
        places = np.arange(rows.start or 0, rows.stop) if isinstance(rows, slice) else rows
        if not len(places):
            return
        self._reserve(int(places.max()) + 1)
        for first in range(0, len(places), _PUT_AT_ONCE):
            some = places[first : first + _PUT_AT_ONCE]
            quanta = vectors[first : first + len(some)] @ self._rotation
            quanta *= np.float32(self._item_quanta)
            np.rint(quanta, out=quanta)
            np.clip(quanta, -_ITEM_QUANTA, _ITEM_QUANTA, out=quanta)
            quanta += _ITEM_QUANTA
            whole = quanta.astype(np.uint8)
            self._heads[some, : self._head] = whole[:, : self._head]
            self._tails[some, : self._dimension - self._head] = whole[:, self._head :]

    def recall(self, vectors: Vectors) -> float:
        """At 10, on probes like users, where these are the vectors that were put: see ``recall_of``."""
        return recall_of(self, vectors)

    def candidates(self, users: Vectors, wanted: Rows, *, prior: Vectors | None, masked: Rows, floor: float) -> CandidatePairs:
        """Pairs that hold (all but surely) each user's ``wanted`` best by cosine + prior above ``floor``, ``masked`` rows left out.

        ``users`` float32 [n, dimension], unit length; ``prior`` float32 [rows] or None; ``masked`` int64, ascending.
        """
        if not len(users) or not self._rows:
            return CandidatePairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
        most = 1.0 if prior is None else 1.0 + max(0.0, float(prior[: self._rows].max()))
        user_quanta = min(_LARGEST / most / self._item_quanta, _USER_QUANTA * math.sqrt(self._dimension) / _DEVIATIONS)
        unit = self._item_quanta * user_quanta
        # Rounding to whole quanta has a variance of 1/12 of a quantum squared, on both sides; the prior's rounding adds at most 1.
        slack = math.ceil(_DEVIATIONS * unit * math.sqrt((self._item_quanta**-2 + user_quanta**-2) / 12.0)) + 1
        bias = np.zeros(len(self._heads), np.int16)
        if prior is not None:
            bias[: self._rows] = np.clip(np.rint(prior[: self._rows] * unit), -32767, 32767)
        bias[masked[masked < self._rows]] = kernels.MASKED
        bias[self._rows :] = kernels.MASKED
        of_users = self._panels(users, user_quanta, unit)
        padded = np.ones(len(of_users[2]), np.int64)
        padded[: len(users)] = wanted
        bound = int(np.clip(math.floor(max(floor, -2.0) * unit) - slack, -32768, 32767))

        capacity = 64 + 6 * int(padded.max())
        # Shared by the threads, which only ever raise them: each one's k-th best is a bound for all.
        bounds = np.full(len(padded), bound, np.int16)
        bounds[len(users) :] = 32767  # nobody: never above

        catalogue = self._heads.reshape(-1), self._tails.reshape(-1), bias, self._width, self._tail_width
        runs = iter(range(0, self._rows, _RUN))

        def work() -> tuple[Any, Any, Any]:
            shape = len(padded), capacity
            kept = np.zeros(shape, np.int32), np.zeros(shape, np.int16), np.zeros(len(padded), np.int64)
            for first in runs:  # each thread takes the next: a range's iterator is advanced under the interpreter's lock
                last = min(first + _RUN, -(-self._rows // kernels.ITEMS) * kernels.ITEMS)
                kernels.scan(catalogue, first, last, of_users, padded, slack, bounds, kept)
            return kept

        with ThreadPoolExecutor(self._threads, thread_name_prefix="scan") as pool:
            parts = [future.result() for future in [pool.submit(work) for _ in range(self._threads)]]
        return pairs_of(parts, padded, slack, len(users))

    def _panels(self, users: Vectors, quanta: float, unit: float) -> tuple[Any, ...]:
        """The users as ``kernels.scan`` reads them."""
        size, head = kernels.USERS, self._head
        count = -(-len(users) // size) * size
        turned = np.empty((len(users), self._dimension), np.float32)
        kernels.turn(users, self._rotation, turned)
        whole = np.zeros((count, self._dimension), np.int8)
        whole[: len(users)] = np.clip(np.rint(turned * quanta), -_USER_QUANTA, _USER_QUANTA)
        heads = np.zeros((count, self._width), np.int8)
        heads[:, :head] = whole[:, :head]
        panels = heads.reshape(-1, size, self._width // 2, 2).transpose(0, 2, 1, 3)
        tails = np.zeros((count, self._tail_width), np.int8)
        tails[:, : self._dimension - head] = whole[:, head:]
        offsets = -_ITEM_QUANTA * whole.astype(np.int32)
        share = np.ones(count, np.float32)
        lengths = (turned**2).sum(axis=1)
        some = lengths > 0  # who is nobody yet has a zero vector: popularity alone counts, and counts in full
        share[: len(users)][some] = (turned[some, :head] ** 2).sum(axis=1) / lengths[some]
        slack = np.zeros(count, np.float32)
        if head < self._dimension:
            slack = np.float32(_HEAD_DEVIATIONS * unit) * np.sqrt(np.maximum(share * (1 - share), 0) / np.float32(self._dimension))
        return (
            np.ascontiguousarray(panels).reshape(-1),
            tails.reshape(-1),
            offsets[:, :head].sum(axis=1).astype(np.int16),
            offsets[:, head:].sum(axis=1).astype(np.int16),
            share,
            slack.astype(np.float32),
        )

    def _reserve(self, rows: int) -> None:
        self._rows = max(self._rows, rows)
        if self._rows > len(self._heads):
            size = -(-max(self._rows, len(self._heads) * 3 // 2) // kernels.ITEMS) * kernels.ITEMS
            self._heads, self._tails = _grown(self._heads, size), _grown(self._tails, size)


def _grown(array: npt.NDArray[np.uint8], rows: int) -> npt.NDArray[np.uint8]:
    grown = np.full((rows, array.shape[1]), _ITEM_QUANTA, np.uint8)
    grown[: len(array)] = array
    return grown
