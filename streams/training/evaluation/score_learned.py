"""Ranks cases with a fitted ranker, by the code that serves, with what was known of the shop at the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streams.ranking.learned.model import Ranker
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.rules import DAY_MS, ProfileRules
from streams.ranking.serving_params import ServingParams
from streams.ranking.together_table import TogetherTable
from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.ranked import Ranked, request_of

_AT_ONCE = 256


class PastTables(NamedTuple):
    """Popularity and pairs as they stood at a moment."""

    at_ms: int
    popularity: PopularityTable
    together: TogetherTable


@dataclass(frozen=True)
class Learned:
    """A ranker, and the tables that it needs."""

    ranker: Ranker
    tables: Sequence[PastTables]
    """In order of time; at least one."""
    rules: ProfileRules


def rank_learned(cases: Sequence[Case], catalogue: EvaluationCatalogue, learned: Learned, params: ServingParams, count: int) -> Ranked:
    """The ``count`` best items of each case, with the last tables before its time; those before all tables get the first."""
    rows = np.full((len(cases), count), -1, np.intp)
    scores = np.full((len(cases), count), -np.inf)
    rules = replace(
        learned.rules,
        half_life_ms=params.half_life_days * DAY_MS,
        popularity_weight=params.popularity_weight,
        together_weight=params.together_weight,
        top_k=count,
        threshold=float("-inf"),
        reasons_max=0,
    )
    times = np.array([tables.at_ms for tables in learned.tables], np.int64)
    which = np.maximum(np.searchsorted(times, [case.at_ms for case in cases], side="right") - 1, 0)
    items = catalogue.items
    for number in np.unique(which).tolist():
        own, tables = np.flatnonzero(which == number), learned.tables[number]
        for start in range(0, len(own), _AT_ONCE):
            places = own[start : start + _AT_ONCE].tolist()
            requests = [request_of(cases[place]) for place in places]
            answers = rank(requests, items, tables.popularity, catalogue.queries, rules, tables.together, learned.ranker)
            for place, answer in zip(places, answers, strict=True):
                found = len(answer.items)
                rows[place, :found] = [items.rows[item] for item in answer.items]
                scores[place, :found] = answer.scores.sum(axis=1) if answer.judged is None else answer.judged[:, 0]
    return Ranked(rows, scores)
