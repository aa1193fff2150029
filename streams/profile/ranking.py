"""From requests to ranked items: embed, multiply, add the prior, exclude, select, explain. Many shoppers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from streams.profile.candidates import closed_rows, exclude
from streams.profile.embedding import embed, scratch_for
from streams.profile.item_matrix import ItemMatrix
from streams.profile.popularity_board import PopularityBoard
from streams.profile.reasons import explain
from streams.profile.request import Ranked, Request
from streams.profile.rules import ProfileRules
from streams.profile.score import prior
from streams.profile.select import best, cosines, margin, propose
from streams.runtime.ports import FloatArray

_CHUNK = 4_000_000
"""Most scores in memory at a time (16 MB)."""


def rank(
    requests: Sequence[Request], matrix: ItemMatrix, board: PopularityBoard, queries: Mapping[str, FloatArray], rules: ProfileRules
) -> list[Ranked]:
    """For each request the best ``top_k`` items above the threshold, best first, equal scores by item id; perhaps none.

    The answer to a request does not depend on the others beside it. ``queries`` holds the vectors of query texts.
    """
    step = max(1, _CHUNK // max(1, len(matrix.ids)))
    ranked: list[Ranked] = []
    for start in range(0, len(requests), step):
        ranked += _rank(requests[start : start + step], matrix, board, queries, rules)
    return ranked


def _rank(
    requests: Sequence[Request], matrix: ItemMatrix, board: PopularityBoard, queries: Mapping[str, FloatArray], rules: ProfileRules
) -> list[Ranked]:
    scratch = scratch_for(requests, matrix.dimension)
    embeddings = [
        embed(request, matrix, queries, scratch, half_life_ms=rules.half_life_ms, blend=rules.search_blend) for request in requests
    ]
    users = np.stack([embedding.vector for embedding in embeddings])
    priors, which = _priors(requests, matrix, board, rules.popularity_weight)

    scores = users @ matrix.vectors.T
    closed = priors + closed_rows(matrix.recommendable)
    scores += closed if len(closed) == 1 else closed[which]
    exclude(scores, [request.excluded for request in requests], matrix.rows)

    pairs = propose(scores, rules.top_k, rules.threshold, margin(matrix.dimension))
    numbers = np.stack((cosines(users, matrix.vectors, pairs), priors[which[pairs.users], pairs.rows]), axis=1)
    chosen = best(pairs, numbers, matrix.ids, users=len(requests), count=rules.top_k, threshold=rules.threshold)

    rows, numbers = pairs.rows[chosen.places], numbers[chosen.places]
    reasons = explain(
        embeddings,
        lambda embedding: embedding.parts(matrix, scratch),
        counts=chosen.counts,
        vectors=matrix.vectors[rows],
        priors=numbers[:, 1],
        most=rules.reasons_max,
    )
    items = [matrix.ids[row] for row in rows.tolist()]
    ranked = []
    for start, count, why in zip(chosen.starts, chosen.counts, reasons, strict=True):
        ranked.append(Ranked(items[start : start + count], numbers[start : start + count], *why))
    return ranked


def _priors(
    requests: Sequence[Request], matrix: ItemMatrix, board: PopularityBoard, weight: float
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """The priors [times, rows] at all times that are needed, and which of them is for which request."""
    cells = [board.cell(request.at_ms) for request in requests]
    places = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    priors = np.stack([prior(board.counts(matrix, cell), weight) for cell in places])
    return priors, np.array([places[cell] for cell in cells], np.intp)
