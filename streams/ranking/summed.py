"""The ranking without a fitted ranker: a sum by hand-set weights, scored for the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streams.engine.ports import CandidateScan
from streams.ranking.arrange import arrange, joined
from streams.ranking.prepared import Prepared, without
from streams.ranking.reasons import Added, explain
from streams.ranking.request import Ranked
from streams.ranking.select import cosines, exclude, margin, only_best, propose
from streams.ranking.together_table import NOTHING, Together, TogetherTable, dense, total_at


class SummedRanking:
    """Requests whose scores are one matrix product. They are answered run by run, because items recommended by one answer may be
    excluded from another.
    """

    def __init__(self, batch: Prepared, together: TogetherTable | None) -> None:
        self._batch = batch
        matrix, rules = batch.matrix, batch.rules
        if together is None or not rules.together_weight:
            self._together = [NOTHING] * len(batch.requests)
        else:
            self._together = [together.of(embedding, matrix) for embedding in batch.embeddings]
        scan = matrix.scan
        if scan is not None:
            self._pairs: list[npt.NDArray[np.int64]] | None = self._candidates(scan)
            return
        self._pairs = None
        self._scores = batch.products()
        for parts, weight in ((self._together, rules.together_weight), (batch.matches, rules.match_weight)):
            for request, part in enumerate(parts):
                if len(part.rows):
                    self._scores[request] += dense(part, weight, self._scores.shape[1])

    def _candidates(self, scan: CandidateScan) -> list[npt.NDArray[np.int64]]:
        """Each request's rows that may be among its best when the most are left out."""
        rules = self._batch.rules
        wanted = np.minimum(self._batch.slate.pool(rules.top_k) + self._batch.spare, max(1, len(self._batch.matrix.ids)))
        rows = self._batch.scanned(scan, wanted, rules.threshold)
        for parts in (self._together, self._batch.matches):
            for request, part in enumerate(parts):
                if len(part.rows):
                    rows[request] = np.union1d(rows[request], self._strongest(part, int(wanted[request])))
        return rows

    def _strongest(self, part: Together, wanted: int) -> npt.NDArray[np.int64]:
        """The recommendable rows that most is added to; the scan knows nothing of what is added."""
        added = dense(part, 1.0, len(self._batch.matrix.ids))
        rows = np.flatnonzero((added > 0) & self._batch.matrix.recommendable)
        if len(rows) <= wanted:
            return rows
        found: npt.NDArray[np.int64] = rows[np.argpartition(-added[rows], wanted - 1)[:wanted]]
        return found

    def answer(self, first: int, excluded: Sequence[Sequence[str]]) -> list[Ranked]:
        """The answers to the requests from place ``first`` on, one for each element of ``excluded``: the items that it must not have.
        Each request can be answered once."""
        if not excluded:
            return []
        own, matrix, rules = slice(first, first + len(excluded)), self._batch.matrix, self._batch.rules
        users, which, embeddings = self._batch.users[own], self._batch.which[own], self._batch.embeddings[own]
        if self._pairs is None:
            scores = self._scores[own]
            exclude(scores, excluded, matrix.rows)
            if self._batch.slate.once and matrix.has_groups:
                only_best(scores, matrix.grouped, margin(matrix.dimension))
            pairs = propose(scores, self._batch.slate.pool(rules.top_k), rules.threshold, margin(matrix.dimension))
        else:
            pairs = without(self._pairs[own], excluded, matrix.rows)
        newcomers = self._batch.newcomers
        if newcomers is not None:
            pairs = joined(pairs, newcomers.pairs, first, excluded, matrix)
        together = self._together[own]
        numbers = np.stack(
            (
                cosines(users, self._batch.catalogue.vectors, pairs),
                self._batch.priors[which[pairs.users], pairs.rows],
                total_at(together, pairs.users, pairs.rows, rules.together_weight),
                total_at(self._batch.matches[own], pairs.users, pairs.rows, rules.match_weight),
            ),
            axis=1,
        )
        totals = numbers.sum(axis=1, dtype=np.float64)
        chosen = arrange(
            pairs,
            totals,
            lambda places: totals[places],
            self._batch.requests[own],
            newcomers,
            matrix,
            self._batch.slate,
            count=rules.top_k,
            threshold=rules.threshold,
        )

        rows, numbers = pairs.rows[chosen.places], numbers[chosen.places]
        reasons = explain(
            embeddings,
            lambda embedding: embedding.parts(self._batch.catalogue, self._batch.scratch),
            counts=chosen.counts,
            vectors=self._batch.catalogue.vectors[rows],
            priors=numbers[:, 1],
            most=rules.reasons_max,
            added=Added(rows, together, rules.together_weight, numbers[:, 3]),
        )
        items = [matrix.ids[row] for row in rows.tolist()]
        ranked = []
        for start, count, why in zip(chosen.starts, chosen.counts, reasons, strict=True):
            ranked.append(Ranked(items[start : start + count], numbers[start : start + count], *why))
        return ranked
