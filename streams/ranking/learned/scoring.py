"""From requests to scored candidates: the one way from histories to a ranker's scores, for serving, training and backtests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.embedding import Embedding
from streams.ranking.learned.batch import Batch, NeighbourTable, Pairs, dots, gather, reach, values
from streams.ranking.learned.candidates import by_source, for_all, most_similar, union
from streams.ranking.learned.features import PLACE, Levels, levels
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Catalogue
from streams.ranking.request import Request
from streams.ranking.select import ScorePairs
from streams.ranking.together_table import Ints, Together


@dataclass(frozen=True)
class Candidates:
    """The candidates of a batch's shoppers and what a ranker may know of them."""

    batch: Batch
    pairs: Pairs
    cosines: FloatArray
    """float32 [pairs]."""
    pairs_history: FloatArray
    """float32 [pairs]: strength of the pairs with the whole history."""
    levels: Levels
    """uint8 [pairs, features]."""
    sources: dict[str, Ints]
    """Keys, shopper · rows + row, by source."""


def candidates(
    requests: Sequence[Request],
    embeddings: Sequence[Embedding],
    users: FloatArray,
    proposed: ScorePairs,
    priors: npt.NDArray[np.float32],
    matrix: Catalogue,
    popularity: PopularityTable,
    together: NeighbourTable,
    related: NeighbourTable,
    matches: Sequence[Together],
    *,
    session_ms: int,
    newcomers: ScorePairs | None = None,
) -> Candidates:
    """``users`` float32 [requests, dimension] are the embeddings' vectors; ``proposed`` holds all pairs that may be among the most
    similar, none that its shopper must not get, ``priors`` [proposed] what popularity adds to their cosines, ``newcomers`` new items
    that have places of their own."""
    batch = gather(requests, embeddings, users, matrix, session_ms)
    shut = _shut(requests, matrix)
    count = len(requests)
    near = Pairs(np.searchsorted(proposed.users, np.arange(count + 1)).astype(np.int64), proposed.rows.astype(np.int64))
    similar = most_similar(near, dots(users, matrix, near).astype(np.float64) + priors)
    cells = np.array([popularity.cell(request.at_ms) for request in requests], np.float64)
    every = np.arange(len(matrix.ids))
    shared = {}
    for cell in np.unique(cells).tolist():
        activity = popularity.activity(matrix, np.full(len(every), cell), every)
        shared[cell] = for_all(activity.counts, activity.first_ms, matrix.recommendable, matrix.ids)
    reached = reach(batch, together, related, matrix)
    sources = by_source(reached, matrix, similar, [shared[cell] for cell in cells.tolist()], matches, matrix.recommendable, shut)
    if newcomers is not None:
        sources["newcomers"] = newcomers.users * max(1, len(matrix.ids)) + newcomers.rows
    pairs = union(sources, count, len(matrix.ids))
    activity = popularity.activity(matrix, cells[pairs.users], pairs.rows)
    found = values(batch, matrix, pairs, activity, reached, matches)
    return Candidates(batch, pairs, found[:, PLACE["text_history"]].copy(), found[:, PLACE["pairs_history"]].copy(), levels(found), sources)


def _shut(requests: Sequence[Request], matrix: Catalogue) -> Pairs:
    """The rows that each request must not get."""
    rows = [[row for row in map(matrix.rows.get, request.excluded) if row is not None] for request in requests]
    begins = np.concatenate(([0], np.cumsum([len(own) for own in rows]))).astype(np.int64)
    return Pairs(begins, np.fromiter((row for own in rows for row in own), np.int64, begins[-1]))
