"""From requests to ranked items: embed, multiply, add the prior, exclude, select, explain. Many shoppers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    step = most_requests(matrix)
    ranked: list[Ranked] = []
    for start in range(0, len(requests), step):
        some = requests[start : start + step]
        ranked += Ranking(some, matrix, board, queries, rules).answer(0, [request.excluded for request in some])
    return ranked


def most_requests(matrix: ItemMatrix) -> int:
    """How many requests are scored together at most."""
    return max(1, _CHUNK // max(1, len(matrix.ids)))


class Catalogue(NamedTuple):
    """The item matrix as it stands while nothing is awaited."""

    dimension: int
    rows: Mapping[str, int]
    vectors: FloatArray


class Ranking:
    """Requests whose scores are one matrix product. They are answered run by run, since what one answer recommends may be
    excluded from another."""

    def __init__(
        self,
        requests: Sequence[Request],
        matrix: ItemMatrix,
        board: PopularityBoard,
        queries: Mapping[str, FloatArray],
        rules: ProfileRules,
    ) -> None:
        self._matrix = matrix
        self._rules = rules
        catalogue = self._catalogue = Catalogue(matrix.dimension, matrix.rows, matrix.vectors)
        self._scratch = scratch_for(requests, matrix.dimension)
        self._embeddings = [
            embed(request, catalogue, queries, self._scratch, half_life_ms=rules.half_life_ms, blend=rules.search_blend)
            for request in requests
        ]
        if not requests:
            return
        self._users = np.stack([embedding.vector for embedding in self._embeddings])
        self._priors, self._which = _priors(requests, matrix, board, rules.popularity_weight)
        self._scores = self._users @ catalogue.vectors.T
        closed = self._priors + closed_rows(matrix.recommendable)
        self._scores += closed if len(closed) == 1 else closed[self._which]

    def answer(self, first: int, excluded: Sequence[Sequence[str]]) -> list[Ranked]:
        """The answers to the requests from place ``first`` on, one for each element of ``excluded``: the items that it must not have.
        Each request can be answered once."""
        if not excluded:
            return []
        own, matrix, rules = slice(first, first + len(excluded)), self._matrix, self._rules
        scores, users, which, embeddings = self._scores[own], self._users[own], self._which[own], self._embeddings[own]
        exclude(scores, excluded, matrix.rows)

        pairs = propose(scores, rules.top_k, rules.threshold, margin(matrix.dimension))
        numbers = np.stack((cosines(users, self._catalogue.vectors, pairs), self._priors[which[pairs.users], pairs.rows]), axis=1)
        chosen = best(pairs, numbers, matrix.ids, users=len(users), count=rules.top_k, threshold=rules.threshold)

        rows, numbers = pairs.rows[chosen.places], numbers[chosen.places]
        reasons = explain(
            embeddings,
            lambda embedding: embedding.parts(self._catalogue, self._scratch),
            counts=chosen.counts,
            vectors=self._catalogue.vectors[rows],
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
