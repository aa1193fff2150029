"""The ranking by a fitted ranker: candidates, their features, the model, and the exact reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from streams.ranking.arrange import arrange
from streams.ranking.learned.candidates import SOURCES
from streams.ranking.learned.features import PLACE
from streams.ranking.learned.reasons import GROUPS, Chosen, by_group, explain_learned
from streams.ranking.learned.related import RelatedItems
from streams.ranking.learned.scoring import Candidates, candidates
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Prepared, without
from streams.ranking.request import LookedAt, Ranked
from streams.ranking.select import ScorePairs, exclude, margin, propose
from streams.ranking.together_table import TogetherTable

if TYPE_CHECKING:
    from streams.ranking.learned.model import Ranker

_POPULARITY = PLACE["popularity_5"]


def candidates_of(batch: Prepared, popularity: PopularityTable, together: TogetherTable, related: RelatedItems) -> Candidates:
    """What a ranker looks at: for an answer, and for the lists that it is fitted to."""
    matrix, wanted, excluded = batch.matrix, SOURCES["similar"], [request.excluded for request in batch.requests]
    scan = matrix.scan
    if scan is None:
        scores = batch.products()
        exclude(scores, excluded, matrix.rows)
        proposed = propose(scores, wanted, float("-inf"), margin(matrix.dimension))
    else:
        proposed = without(batch.scanned(scan, wanted + batch.spare, float("-inf")), excluded, matrix.rows)
    return candidates(
        batch.requests,
        batch.embeddings,
        batch.users,
        proposed,
        batch.priors[batch.which[proposed.users], proposed.rows],
        matrix,
        popularity,
        together,
        related,
        batch.matches,
        session_ms=batch.rules.together.session_ms,
        newcomers=None if batch.newcomers is None else batch.newcomers.pairs,
    )


class LearnedRanking:
    """Requests whose candidates are scored once, for all answers."""

    def __init__(self, batch: Prepared, ranker: Ranker, popularity: PopularityTable, together: TogetherTable) -> None:
        self._batch, self._ranker, self._table = batch, ranker, together
        self._learned = candidates_of(batch, popularity, together, ranker.related)
        self._own = ranker.scores(self._learned.levels)
        taken = batch.penalties
        self._scores = self._own if taken is None else self._own - taken[self._learned.pairs.rows]

    def answer(self, first: int, excluded: Sequence[Sequence[str]]) -> list[Ranked]:
        """As ``Ranking.answer``."""
        if not excluded:
            return []
        matrix, rules, learned, ranker = self._batch.matrix, self._batch.rules, self._learned, self._ranker
        begins = learned.pairs.begins[first : first + len(excluded) + 1]
        own = slice(int(begins[0]), int(begins[-1]))
        rows, users = learned.pairs.rows[own], np.repeat(np.arange(len(excluded)), np.diff(begins))
        size = max(1, len(matrix.ids))
        gone = [user * size + row for user, items in enumerate(excluded) for row in map(matrix.rows.get, items) if row is not None]
        kept = np.flatnonzero(~np.isin(users * size + rows, gone))
        pairs, scores = ScorePairs(users[kept], rows[kept]), self._scores[own][kept]
        chosen = arrange(
            pairs,
            scores,
            lambda some: ranker.probability(self._own[own][kept[some]]),
            self._batch.requests[first : first + len(excluded)],
            self._batch.newcomers,
            matrix,
            self._batch.slate,
            count=rules.top_k,
            threshold=rules.threshold,
        )

        places = kept[chosen.places] + own.start
        shares = ranker.shares(learned.levels[places])
        # What dismissals and returns take is told with popularity, as in the sum's prior; the probability is the ranker's own.
        shares[:, _POPULARITY] += self._scores[places] - self._own[places]
        groups = by_group(shares)
        numbers = np.stack((learned.cosines[places], *(groups[:, GROUPS.index(name)] for name in ("popularity", "pairs", "match"))), axis=1)
        totals = self._scores[places]
        reasons = explain_learned(
            Chosen(chosen.counts, learned.pairs.rows[places], shares, totals),
            self._batch.embeddings[first : first + len(excluded)],
            learned.batch,
            first,
            matrix,
            self._table,
            ranker.related,
            rules.reasons_max,
        )
        judged = np.stack((totals, ranker.probability(self._own[places])), axis=1)
        items = [matrix.ids[row] for row in learned.pairs.rows[places].tolist()]
        ranked = []
        bounds = begins.tolist()
        for place, (start, count, why) in enumerate(zip(chosen.starts, chosen.counts, reasons, strict=True)):
            mine, all_of = slice(start, start + count), slice(bounds[place], bounds[place + 1])
            looked_at = LookedAt(learned.pairs.rows[all_of], learned.levels[all_of])
            ranked.append(Ranked(items[mine], numbers[mine].astype(np.float32), *why, judged[mine], looked_at))
        return ranked
