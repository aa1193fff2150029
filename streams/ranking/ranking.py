"""From requests to ranked items: embed, multiply, add the prior, exclude, select, explain. Handles many shoppers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import CandidateScan, FloatArray
from streams.ranking.embedding import embed, scratch_for
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned.candidates import SOURCES
from streams.ranking.learned.model import Ranker
from streams.ranking.learned.reasons import GROUPS, Chosen, by_group, explain_learned
from streams.ranking.learned.scoring import Candidates, candidates
from streams.ranking.popularity import prior
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.reasons import Added, explain
from streams.ranking.request import Ranked, Request
from streams.ranking.rules import ProfileRules
from streams.ranking.select import ScorePairs, best, cosines, exclude, margin, masked_rows, propose
from streams.ranking.together_table import NOTHING, Together, TogetherTable, dense, total_at

_CHUNK = 4_000_000
"""Most scores in memory at a time (16 MB)."""
_SCANNED = 64
"""Most requests in one pass of a scan. It keeps no scores but candidates', and compares at least 32 users with each item: four cost half as
much as 64, and 256 four times as much."""


def rank(
    requests: Sequence[Request],
    matrix: ItemMatrix,
    popularity: PopularityTable,
    queries: Mapping[str, FloatArray],
    rules: ProfileRules,
    together: TogetherTable | None = None,
    ranker: Ranker | None = None,
) -> list[Ranked]:
    """For each request the best ``top_k`` items above the threshold, best first, equal scores by item id. There may be none.

    The answer to a request does not depend on the other requests. ``queries`` holds the vectors of query texts.
    Without a ``ranker`` the score is a sum by hand-set weights.
    """
    step = most_requests(matrix)
    ranked: list[Ranked] = []
    for start in range(0, len(requests), step):
        some = requests[start : start + step]
        ranked += Ranking(some, matrix, popularity, queries, rules, together, ranker).answer(0, [request.excluded for request in some])
    return ranked


def most_requests(matrix: ItemMatrix) -> int:
    """How many requests are scored together at most."""
    if matrix.scan is not None:
        return _SCANNED
    return max(1, _CHUNK // max(1, len(matrix.ids)))


class MatrixView(NamedTuple):
    """The item matrix as it stands while nothing is awaited."""

    dimension: int
    rows: Mapping[str, int]
    vectors: FloatArray


class Ranking:
    """Requests whose scores are one matrix product. They are answered run by run, because items recommended by one answer may be
    excluded from another.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        matrix: ItemMatrix,
        popularity: PopularityTable,
        queries: Mapping[str, FloatArray],
        rules: ProfileRules,
        together: TogetherTable | None = None,
        ranker: Ranker | None = None,
        *,
        most_excluded: Sequence[int] | None = None,
    ) -> None:
        """``most_excluded``: for each request, how many items ``answer`` may be told to leave out; by default its own."""
        self._matrix = matrix
        self._rules = rules
        catalogue = self._catalogue = MatrixView(matrix.dimension, matrix.rows, matrix.vectors)
        self._scratch = scratch_for(requests, matrix.dimension)
        self._embeddings = [
            embed(request, catalogue, queries, self._scratch, half_life_ms=rules.half_life_ms, blend=rules.search_blend)
            for request in requests
        ]
        if not requests:
            return
        self._users = np.stack([embedding.vector for embedding in self._embeddings])
        self._priors, self._which = _priors(requests, matrix, popularity, rules.popularity_weight)
        self._ranker, self._table = ranker, together
        if ranker is not None and together is not None:
            self._matches = [self._match(request) for request in requests]
            self._candidates_of(requests, ranker, popularity, together, most_excluded)
            return
        if together is None or not rules.together_weight:
            self._together = [NOTHING] * len(requests)
        else:
            self._together = [together.of(embedding, matrix) for embedding in self._embeddings]
        self._matches = [self._match(request) for request in requests]
        scan = matrix.scan
        if scan is not None:
            spare = [len(request.excluded) for request in requests] if most_excluded is None else most_excluded
            self._pairs: list[npt.NDArray[np.int64]] | None = self._candidates(scan, np.array(spare, np.int64))
            return
        self._pairs = None
        self._scores = self._users @ catalogue.vectors.T
        masked = self._priors + masked_rows(matrix.recommendable)
        self._scores += masked if len(masked) == 1 else masked[self._which]
        for parts, weight in ((self._together, rules.together_weight), (self._matches, rules.match_weight)):
            for request, part in enumerate(parts):
                if len(part.rows):
                    self._scores[request] += dense(part, weight, self._scores.shape[1])

    def _candidates_of(
        self,
        requests: Sequence[Request],
        ranker: Ranker,
        popularity: PopularityTable,
        together: TogetherTable,
        most_excluded: Sequence[int] | None,
    ) -> None:
        """What the ranker looks at, scored once for all answers."""
        matrix, wanted = self._matrix, SOURCES["similar"]
        scan = matrix.scan
        if scan is None:
            scores = self._users @ self._catalogue.vectors.T
            masked = self._priors + masked_rows(matrix.recommendable)
            scores += masked if len(masked) == 1 else masked[self._which]
            exclude(scores, [request.excluded for request in requests], matrix.rows)
            proposed = propose(scores, wanted, float("-inf"), margin(matrix.dimension))
        else:
            spare = [len(request.excluded) for request in requests] if most_excluded is None else most_excluded
            rows = self._scanned(scan, wanted + np.array(spare, np.int64), float("-inf"))
            proposed = without(rows, [request.excluded for request in requests], matrix.rows)
        priors = self._priors[self._which[proposed.users], proposed.rows]
        self._learned: Candidates = candidates(
            requests,
            self._embeddings,
            self._users,
            proposed,
            priors,
            matrix,
            popularity,
            together,
            ranker.related,
            self._matches,
            session_ms=self._rules.together.session_ms,
        )
        self._learned_scores = ranker.scores(self._learned.levels)

    def _learned_answer(self, first: int, excluded: Sequence[Sequence[str]], ranker: Ranker, together: TogetherTable) -> list[Ranked]:
        matrix, rules, learned = self._matrix, self._rules, self._learned
        begins = learned.pairs.begins[first : first + len(excluded) + 1]
        own = slice(int(begins[0]), int(begins[-1]))
        rows, users = learned.pairs.rows[own], np.repeat(np.arange(len(excluded)), np.diff(begins))
        size = max(1, len(matrix.ids))
        gone = [user * size + row for user, items in enumerate(excluded) for row in map(matrix.rows.get, items) if row is not None]
        kept = np.flatnonzero(~np.isin(users * size + rows, gone))
        pairs, scores = ScorePairs(users[kept], rows[kept]), self._learned_scores[own][kept]
        chosen = best(pairs, scores[:, None], matrix.ids, users=len(excluded), count=rules.top_k, threshold=rules.threshold)

        places = kept[chosen.places] + own.start
        shares = ranker.shares(learned.levels[places])
        groups = by_group(shares)
        numbers = np.stack((learned.cosines[places], *(groups[:, GROUPS.index(name)] for name in ("popularity", "pairs", "match"))), axis=1)
        totals = self._learned_scores[places]
        reasons = explain_learned(
            Chosen(chosen.counts, learned.pairs.rows[places], shares, totals),
            self._embeddings[first : first + len(excluded)],
            lambda embedding: embedding.parts(self._catalogue, self._scratch),
            learned.batch,
            first,
            matrix,
            together,
            ranker.related,
            rules.reasons_max,
        )
        judged = np.stack((totals, ranker.probability(totals)), axis=1)
        items = [matrix.ids[row] for row in learned.pairs.rows[places].tolist()]
        ranked = []
        for start, count, why in zip(chosen.starts, chosen.counts, reasons, strict=True):
            mine = slice(start, start + count)
            ranked.append(Ranked(items[mine], numbers[mine].astype(np.float32), *why, judged[mine]))
        return ranked

    def _match(self, request: Request) -> Together:
        """What the letters of a search's query add; as one part."""
        if request.query is None or not self._rules.match_weight:
            return NOTHING
        rows, scores = self._matrix.terms.match(request.query)
        return Together(rows, scores, np.zeros(len(rows), np.int64))

    def _candidates(self, scan: CandidateScan, spare: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Each request's rows that may be among its best when ``spare`` of them are left out."""
        wanted = np.minimum(self._rules.top_k + spare, max(1, len(self._matrix.ids)))
        rows = self._scanned(scan, wanted, self._rules.threshold)
        for parts in (self._together, self._matches):
            for request, part in enumerate(parts):
                if len(part.rows):
                    rows[request] = np.union1d(rows[request], self._strongest(part, int(wanted[request])))
        return rows

    def _scanned(self, scan: CandidateScan, wanted: npt.NDArray[np.int64], floor: float) -> list[npt.NDArray[np.int64]]:
        """Each request's rows that may be among its ``wanted`` best by cosine and prior, and above ``floor``."""
        wanted = np.minimum(wanted, max(1, len(self._matrix.ids)))
        rows: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(self._users)
        masked = np.flatnonzero(~self._matrix.recommendable)
        known = self._users.any(axis=1)
        for cell, priors in enumerate(self._priors):
            for request in np.flatnonzero((self._which == cell) & ~known).tolist():
                rows[request] = most_popular(priors, self._matrix.recommendable, int(wanted[request]), floor)
            own = np.flatnonzero((self._which == cell) & known)
            pairs = scan.candidates(self._users[own], wanted[own], prior=priors, masked=masked, floor=floor)
            cuts = np.searchsorted(pairs.users, np.arange(len(own) + 1))
            for place, request in enumerate(own.tolist()):
                rows[request] = pairs.rows[cuts[place] : cuts[place + 1]]
        return rows

    def _strongest(self, part: Together, wanted: int) -> npt.NDArray[np.int64]:
        """The recommendable rows that most is added to; the scan knows nothing of what is added."""
        added = dense(part, 1.0, len(self._matrix.ids))
        rows = np.flatnonzero((added > 0) & self._matrix.recommendable)
        if len(rows) <= wanted:
            return rows
        found: npt.NDArray[np.int64] = rows[np.argpartition(-added[rows], wanted - 1)[:wanted]]
        return found

    def answer(self, first: int, excluded: Sequence[Sequence[str]]) -> list[Ranked]:
        """The answers to the requests from place ``first`` on, one for each element of ``excluded``: the items that it must not have.
        Each request can be answered once."""
        if not excluded:
            return []
        if self._ranker is not None and self._table is not None:
            return self._learned_answer(first, excluded, self._ranker, self._table)
        own, matrix, rules = slice(first, first + len(excluded)), self._matrix, self._rules
        users, which, embeddings = self._users[own], self._which[own], self._embeddings[own]
        if self._pairs is None:
            scores = self._scores[own]
            exclude(scores, excluded, matrix.rows)
            pairs = propose(scores, rules.top_k, rules.threshold, margin(matrix.dimension))
        else:
            pairs = without(self._pairs[own], excluded, matrix.rows)
        together = self._together[own]
        numbers = np.stack(
            (
                cosines(users, self._catalogue.vectors, pairs),
                self._priors[which[pairs.users], pairs.rows],
                total_at(together, pairs.users, pairs.rows, rules.together_weight),
                total_at(self._matches[own], pairs.users, pairs.rows, rules.match_weight),
            ),
            axis=1,
        )
        chosen = best(pairs, numbers, matrix.ids, users=len(users), count=rules.top_k, threshold=rules.threshold)

        rows, numbers = pairs.rows[chosen.places], numbers[chosen.places]
        reasons = explain(
            embeddings,
            lambda embedding: embedding.parts(self._catalogue, self._scratch),
            counts=chosen.counts,
            vectors=self._catalogue.vectors[rows],
            priors=numbers[:, 1],
            most=rules.reasons_max,
            added=Added(rows, together, rules.together_weight, numbers[:, 3]),
        )
        items = [matrix.ids[row] for row in rows.tolist()]
        ranked = []
        for start, count, why in zip(chosen.starts, chosen.counts, reasons, strict=True):
            ranked.append(Ranked(items[start : start + count], numbers[start : start + count], *why))
        return ranked


def most_popular(priors: FloatArray, recommendable: npt.NDArray[np.bool_], wanted: int, threshold: float) -> npt.NDArray[np.int64]:
    """Candidates for a shopper without history: the ``wanted`` best items by prior, and all items equal to the last of them.

    A scan keeps only some of many equal items. Here any number may be equal: all items without recent events.
    """
    rows = np.flatnonzero(recommendable & (priors > threshold))
    if len(rows) <= wanted:
        return rows
    least = np.partition(priors[rows], len(rows) - wanted)[len(rows) - wanted]
    best: npt.NDArray[np.int64] = rows[priors[rows] >= least]
    return best


def without(candidates: Sequence[npt.NDArray[np.int64]], excluded: Sequence[Sequence[str]], rows: Mapping[str, int]) -> ScorePairs:
    """Each user's candidates but for the excluded items."""
    kept = []
    for found, items in zip(candidates, excluded, strict=True):
        gone = [row for row in map(rows.get, items) if row is not None]
        kept.append(found[~np.isin(found, gone)] if gone else found)
    users = np.repeat(np.arange(len(kept)), [len(found) for found in kept])
    return ScorePairs(users, np.concatenate(kept) if kept else np.zeros(0, np.int64))


def _priors(
    requests: Sequence[Request], matrix: ItemMatrix, popularity: PopularityTable, weight: float
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """The priors [times, rows] at all times that are needed, and which of them is for which request."""
    cells = [popularity.cell(request.at_ms) for request in requests]
    places = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    priors = np.stack([prior(popularity.counts(matrix, cell), weight) for cell in places])
    return priors, np.array([places[cell] for cell in cells], np.intp)
