"""A catalogue that is searched: exactly up to a size, above it by a scan whose recall has been measured."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from encoders.engines.engine import Vectors
from encoders.nearest import exact
from encoders.nearest.decide import Found, Rows, decide
from encoders.nearest.item_scan import ItemScan
from encoders.nearest.recall import FLOOR, recall_of

EXACT_UP_TO = 200_000
"""Items. Up to here the whole fp32 product takes a tenth of a second for 64 users on two cores."""
LEAST_DIMENSION = 32
"""Below, small integers tell too many items apart too badly, and the whole product costs little."""
_LOG = logging.getLogger(__name__)


class NearestItems:
    """Each user's k best items by cosine + prior. The vectors are not copied and must not change."""

    def __init__(self, vectors: Vectors, ids: Sequence[str], *, exact_up_to: int = EXACT_UP_TO, threads: int | None = None) -> None:
        """``vectors`` float32 [items, dimension], unit length, C-contiguous. Raises ValueError where the arguments don't fit together."""
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.flags.c_contiguous:
            raise ValueError("the items must be a C-contiguous float32 matrix; numpy.ascontiguousarray(vectors, 'float32') makes one")
        if len(ids) != len(vectors):
            raise ValueError(f"there are {len(vectors)} vectors and {len(ids)} ids; each vector needs one")
        self._vectors = vectors
        self._ids = ids
        self._scan: ItemScan | None = None
        self.recall: float | None = None
        """Of the scan at K = 10, measured on probes when this was made; None where search is exact anyway."""
        if len(vectors) > exact_up_to and vectors.shape[1] >= LEAST_DIMENSION:
            scan = ItemScan(vectors.shape[1], threads=threads)
            scan.put(slice(0, len(vectors)), vectors)
            self.recall = recall_of(scan, vectors)
            if self.recall >= FLOOR:
                self._scan = scan
            else:
                _LOG.warning("the scan of %d items has a recall of %.3f, below %.2f; search stays exact", len(ids), self.recall, FLOOR)

    @property
    def exact(self) -> bool:
        """Whether every item is compared in fp32."""
        return self._scan is None

    def search(
        self, users: Vectors, k: int, *, prior: Vectors | None = None, masked: Rows | None = None, threshold: float = -np.inf
    ) -> Found:
        """``users`` float32 [n, dimension], unit length; ``prior`` float32 [items], added to every user's cosines;
        ``masked`` int64, rows that nobody may have. Best first, above ``threshold``, equal scores by id. Raises ValueError for k below 1
        or a wrong shape.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if users.ndim != 2 or users.shape[1] != self._vectors.shape[1]:
            raise ValueError(f"users must be [n, {self._vectors.shape[1]}], not {list(users.shape)}")
        if prior is not None and prior.shape != (len(self._ids),):
            raise ValueError(f"the prior must have {len(self._ids)} elements, not shape {list(prior.shape)}")
        users = np.ascontiguousarray(users, np.float32)
        wanted = np.full(len(users), min(k, max(1, len(self._ids))), np.int64)
        shut = np.zeros(0, np.int64) if masked is None else np.unique(masked)
        floor = max(float(threshold), -1e4)
        if self._scan is None:
            pairs = exact.candidates(users, self._vectors, wanted, prior=prior, masked=shut, floor=floor)
        else:
            pairs = self._scan.candidates(users, wanted, prior=prior, masked=shut, floor=floor)
        return decide(pairs, users, self._vectors, self._ids, count=k, prior=prior, threshold=threshold)
