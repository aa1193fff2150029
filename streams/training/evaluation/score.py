"""Ranks cases exactly as the profile stage does, many at once: the same embedding, prior, exclusion and selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.embedding import embed, scratch_for
from streams.ranking.popularity import prior
from streams.ranking.prepared import MatrixView
from streams.ranking.rules import DAY_MS
from streams.ranking.select import best, cosines, exclude, margin, masked_rows, propose
from streams.ranking.serving_params import ServingParams
from streams.ranking.together_table import NOTHING, Together, dense, total_at
from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.ranked import Ranked, request_of
from streams.training.evaluation.score_learned import rank_learned

_CHUNK = 4_000_000
"""Most scores in memory at a time (16 MB)."""


class Chunk(NamedTuple):
    """Some cases, and all that their scores are made of."""

    places: slice
    """Among all cases."""
    users: FloatArray
    """[cases, dimension]."""
    cosines: FloatArray
    """[cases, items], minus infinity for what may not be recommended."""
    counts: npt.NDArray[np.float64]
    """[moments, items]: decayed popularity."""
    which: npt.NDArray[np.intp]
    """[cases]: which of the moments is theirs."""
    together: list[Together]
    """[cases]: what is bought together with the histories."""
    bought: FloatArray | None
    """[cases, items]: what that adds at a weight of 1; None where it is nothing."""


def rank(
    cases: Sequence[Case],
    catalogue: EvaluationCatalogue,
    *,
    half_life_days: float,
    popularity_weight: float,
    count: int,
    together_weight: float = 0.0,
) -> Ranked:
    """The ``count`` best items of each case, whatever their scores: a ranking, not a decision to speak."""
    parts = [top(chunk, catalogue, popularity_weight, count, together_weight) for chunk in chunks(cases, catalogue, half_life_days)]
    if not parts:
        return Ranked(np.zeros((0, count), np.intp), np.zeros((0, count)))
    return Ranked(np.concatenate([part.rows for part in parts]), np.concatenate([part.scores for part in parts]))


def rank_by(cases: Sequence[Case], catalogue: EvaluationCatalogue, params: ServingParams, count: int) -> Ranked:
    """``rank`` under a model's serving parameters, or by its ranker where it has one."""
    if catalogue.learned is not None:
        return rank_learned(cases, catalogue, catalogue.learned, params, count)
    return rank(
        cases,
        catalogue,
        half_life_days=params.half_life_days,
        popularity_weight=params.popularity_weight,
        count=count,
        together_weight=params.together_weight,
    )


def chunks(cases: Sequence[Case], catalogue: EvaluationCatalogue, half_life_days: float) -> Iterator[Chunk]:
    """The parts of the score that do not depend on the prior's weight, some cases at a time."""
    rows = catalogue.rows
    view = MatrixView(catalogue.dimension, rows, catalogue.vectors)
    masked = masked_rows(catalogue.open_rows)
    step = max(1, _CHUNK // max(1, len(catalogue.ids)))
    for start in range(0, len(cases), step):
        some = cases[start : start + step]
        requests = [request_of(case) for case in some]
        scratch = scratch_for(requests, catalogue.dimension)
        embeddings = [embed(r, view, catalogue.queries, scratch, half_life_ms=half_life_days * DAY_MS, blend=0.0) for r in requests]
        users = np.stack([embedding.vector for embedding in embeddings])
        table = catalogue.together
        together = [NOTHING if table is None else table.of(embedding, catalogue) for embedding in embeddings]
        bought = None
        if any(len(part.rows) for part in together):
            bought = np.stack([dense(part, 1.0, len(catalogue.ids)) for part in together])
        scores = users @ catalogue.vectors.T + masked
        exclude(scores, [request.excluded for request in requests], rows)
        moments, which = np.unique([case.at_ms for case in some], return_inverse=True)
        counts = np.stack([catalogue.popularity.at(int(moment)) for moment in moments])
        yield Chunk(slice(start, start + len(some)), users, scores, counts, which, together, bought)


def top(chunk: Chunk, catalogue: EvaluationCatalogue, popularity_weight: float, count: int, together_weight: float = 0.0) -> Ranked:
    """The chunk's best items under these weights; ties and rounding as in streams/ranking/select.py."""
    priors = prior(chunk.counts, popularity_weight)
    scores = chunk.cosines + priors[chunk.which]
    if together_weight and chunk.bought is not None:
        scores += np.float32(together_weight) * chunk.bought
    pairs = propose(scores, count, float("-inf"), margin(catalogue.dimension))
    added = total_at(chunk.together, pairs.users, pairs.rows, together_weight)
    numbers = np.stack((cosines(chunk.users, catalogue.vectors, pairs), priors[chunk.which[pairs.users], pairs.rows], added), axis=1)
    chosen = best(pairs, numbers, catalogue.ids, users=len(scores), count=count, threshold=float("-inf"))
    cases = np.repeat(np.arange(len(scores)), chosen.counts)
    columns = np.arange(len(cases)) - np.repeat(chosen.starts, chosen.counts)
    rows = np.full((len(scores), count), -1, np.intp)
    found = np.full((len(scores), count), -np.inf)
    rows[cases, columns] = pairs.rows[chosen.places]
    found[cases, columns] = numbers[chosen.places].sum(axis=1, dtype=np.float64)
    return Ranked(rows, found)
