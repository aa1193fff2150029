"""What every ranking of a batch begins with: the shoppers' vectors, the priors at their moments, and the rows of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streams.engine.ports import CandidateScan, FloatArray
from streams.ranking.arrange import find_newcomers, penalties
from streams.ranking.embedding import embed, scratch_for
from streams.ranking.lexical import TermIndex
from streams.ranking.popularity import prior
from streams.ranking.popularity_table import PopularityTable, Rows
from streams.ranking.request import Request
from streams.ranking.rules import ProfileRules
from streams.ranking.select import Groups, ScorePairs, masked_rows
from streams.ranking.together_table import NOTHING, Together


class Catalogue(Rows, Protocol):
    """The part of the item matrix that is read here."""

    @property
    def vectors(self) -> FloatArray: ...
    @property
    def categories(self) -> npt.NDArray[np.int32]: ...
    @property
    def price_bands(self) -> npt.NDArray[np.int16]: ...
    @property
    def recommendable(self) -> npt.NDArray[np.bool_]: ...
    @property
    def products(self) -> npt.NDArray[np.uint64]: ...
    @property
    def groups(self) -> npt.NDArray[np.uint64]: ...
    @property
    def has_groups(self) -> bool: ...


class Items(Catalogue, Protocol):
    """The part of an item matrix that a ranking reads."""

    @property
    def dimension(self) -> int: ...
    @property
    def scan(self) -> CandidateScan | None: ...
    @property
    def grouped(self) -> Groups: ...
    @property
    def terms(self) -> TermIndex: ...


class MatrixView(NamedTuple):
    """The item matrix as it stands while nothing is awaited."""

    dimension: int
    rows: Mapping[str, int]
    vectors: FloatArray


class Prepared:
    """A batch of requests, at least one."""

    def __init__(
        self,
        requests: Sequence[Request],
        matrix: Items,
        popularity: PopularityTable,
        queries: Mapping[str, FloatArray],
        rules: ProfileRules,
        most_excluded: Sequence[int] | None = None,
    ) -> None:
        """``queries`` holds the vectors of query texts. ``most_excluded``: for each request, how many items an answer may be told to leave
        out; by default its own."""
        self.requests, self.matrix, self.rules = requests, matrix, rules
        self.slate = rules.slate.of(has_groups=matrix.has_groups)
        self.catalogue = MatrixView(matrix.dimension, matrix.rows, matrix.vectors)
        self.scratch = scratch_for(requests, matrix.dimension)
        self.embeddings = [
            embed(request, self.catalogue, queries, self.scratch, half_life_ms=rules.half_life_ms, blend=rules.search_blend)
            for request in requests
        ]
        self.users: FloatArray = np.stack([embedding.vector for embedding in self.embeddings])
        self.priors, self.which = _priors(requests, matrix, popularity, rules.popularity_weight)
        self.penalties = penalties(self.slate, matrix, popularity)
        """float32 [rows]: what dismissals and returns take from the items' scores, in ``priors`` already; None where nothing."""
        if self.penalties is not None:
            self.priors = self.priors - self.penalties
        self.newcomers = find_newcomers(self.slate, requests, self.users, matrix, popularity)
        self.matches = [self._match(request) for request in requests]
        spare = [len(request.excluded) for request in requests] if most_excluded is None else most_excluded
        self.spare = np.array(spare, np.int64)

    def products(self) -> FloatArray:
        """float32 [requests, rows]: cosine and prior, minus infinity for what nobody may be recommended."""
        scores = self.users @ self.catalogue.vectors.T
        masked = self.priors + masked_rows(self.matrix.recommendable)
        scores += masked if len(masked) == 1 else masked[self.which]
        return scores

    def _match(self, request: Request) -> Together:
        """What the letters of a search's query add; as one part."""
        if request.query is None or not self.rules.match_weight:
            return NOTHING
        rows, scores = self.matrix.terms.match(request.query)
        return Together(rows, scores, np.zeros(len(rows), np.int64))

    def scanned(self, scan: CandidateScan, wanted: npt.NDArray[np.int64], floor: float) -> list[npt.NDArray[np.int64]]:
        """Each request's rows that may be among its ``wanted`` best by cosine and prior, and above ``floor``."""
        wanted = np.minimum(wanted, max(1, len(self.matrix.ids)))
        rows: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(self.users)
        masked = np.flatnonzero(~self.matrix.recommendable)
        known = self.users.any(axis=1)
        for cell, priors in enumerate(self.priors):
            for request in np.flatnonzero((self.which == cell) & ~known).tolist():
                rows[request] = most_popular(priors, self.matrix.recommendable, int(wanted[request]), floor)
            own = np.flatnonzero((self.which == cell) & known)
            pairs = scan.candidates(self.users[own], wanted[own], prior=priors, masked=masked, floor=floor)
            cuts = np.searchsorted(pairs.users, np.arange(len(own) + 1))
            for place, request in enumerate(own.tolist()):
                rows[request] = pairs.rows[cuts[place] : cuts[place + 1]]
        return rows


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
    requests: Sequence[Request], matrix: Items, popularity: PopularityTable, weight: float
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """The priors [times, rows] at all times that are needed, and which of them is for which request."""
    cells = [popularity.cell(request.at_ms) for request in requests]
    places = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    priors = np.stack([prior(popularity.counts(matrix, cell), weight) for cell in places])
    return priors, np.array([places[cell] for cell in cells], np.intp)
