"""A model in memory: its encoder, and its item matrix, which follows the catalogue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from streams.engine.followers import Follower
from streams.engine.records import SourceRecord
from streams.models.hotswap.announced import Apply
from streams.models.hotswap.completeness import Completeness
from streams.models.hotswap.lease import Lease
from streams.models.hotswap.query_vectors import QueryVectors
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned.model import Ranker

if TYPE_CHECKING:
    from streams.models.hotswap.catalogue_models import ClosingEncoder

_WARMED = 64
"""Texts at a time, so that the requests of batches come in between."""


class BuiltModel:
    """Has a follower of its own, which begins at the topic's beginning: what was compacted away or read long ago is not needed."""

    def __init__(
        self,
        encoder: ClosingEncoder,
        matrix: ItemMatrix,
        completeness: Completeness | None,
        follow: Callable[[Apply], Follower],
        monotonic: Callable[[], float] = time.monotonic,
        ranker: Ranker | None = None,
    ) -> None:
        self.version = matrix.version
        self.encoder = encoder
        self.matrix = matrix
        self.ranker = ranker
        self.queries = QueryVectors(encoder)
        self.completeness = completeness
        """None from when it was complete: then the matrix simply follows."""
        self.follower = follow(self._apply)
        self.lease = Lease(self.close)
        self._monotonic = monotonic

    async def start(self, partitions: int) -> None:
        """Returns when all that is in the topic now is applied. Raises what stopped the follower."""
        await self.follower.start(partitions)
        await self.follower.caught_up()
        await self._fit()
        if self.completeness is not None:
            self.completeness.begin_to_wait()

    def _apply(self, records: Sequence[SourceRecord]) -> None:
        self.matrix.apply(records)
        if self.completeness is not None:
            self.completeness.apply(records, self._monotonic())

    async def _fit(self) -> None:
        """A large catalogue's space is fitted on a thread: batches of the models that serve go on meanwhile."""
        _ = self.matrix.vectors
        if self.matrix.fitting is not None:
            await asyncio.wrap_future(self.matrix.fitting)
            self.matrix.take_fitted()

    async def warm(self, texts: Sequence[str]) -> None:
        """Encodes query texts, the most important first, and computes what the first batch would have to."""
        known = set(self.queries.known())
        missing = [text for text in reversed(texts) if text not in known]
        for start in range(0, len(missing), _WARMED):
            await self.queries.lookup(missing[start : start + _WARMED])
            await asyncio.sleep(0)
        _ = self.matrix.vectors, self.matrix.scan

    async def close(self) -> None:
        """Ends the follower and the encoder."""
        await self.follower.stop()
        await self.encoder.close()
