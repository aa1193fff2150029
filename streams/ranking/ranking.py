"""From requests to ranked items: embed, multiply, add the prior, exclude, select, explain. Handles many shoppers at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Protocol

from streams.engine.ports import FloatArray
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Items, Prepared
from streams.ranking.request import Ranked, Request
from streams.ranking.rules import ProfileRules
from streams.ranking.summed import SummedRanking
from streams.ranking.together_table import TogetherTable

_CHUNK = 4_000_000
"""Most scores in memory at a time (16 MB)."""
_SCANNED = 64
"""Most requests in one pass of a scan. It keeps no scores but candidates', and compares at least 32 users with each item: four cost half as
much as 64, and 256 four times as much."""


def rank(
    requests: Sequence[Request],
    matrix: Items,
    popularity: PopularityTable,
    queries: Mapping[str, FloatArray],
    rules: ProfileRules,
    together: TogetherTable | None = None,
    ranker: FittedRanker | None = None,
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


def most_requests(matrix: Items) -> int:
    """How many requests are scored together at most."""
    if matrix.scan is not None:
        return _SCANNED
    return max(1, _CHUNK // max(1, len(matrix.ids)))


class Answers(Protocol):
    """A ranking of one batch."""

    def answer(self, first: int, excluded: Sequence[Sequence[str]]) -> list[Ranked]:
        """As ``Ranking.answer``."""
        ...


class FittedRanker(Protocol):
    """A ranker as this room needs it; ``streams/ranking/learned`` has it."""

    @property
    def searches(self) -> bool:
        """Whether it was fitted to answers to searches too."""
        ...

    def ranking(self, batch: Prepared, popularity: PopularityTable, together: TogetherTable, /) -> Answers: ...


class Ranking:
    """Requests that are scored at once. They are answered run by run, because items recommended by one answer may be excluded from
    another.

    A ranker ranks what it was fitted to: where none of its lists answered a search, searches are ranked by the hand-set sum.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        matrix: Items,
        popularity: PopularityTable,
        queries: Mapping[str, FloatArray],
        rules: ProfileRules,
        together: TogetherTable | None = None,
        ranker: FittedRanker | None = None,
        *,
        most_excluded: Sequence[int] | None = None,
    ) -> None:
        """``most_excluded``: for each request, how many items ``answer`` may be told to leave out; by default its own."""
        self._parts: list[tuple[list[int], Answers]] = []

        def prepared(places: list[int]) -> Prepared:
            spare = None if most_excluded is None else [most_excluded[place] for place in places]
            return Prepared([requests[place] for place in places], matrix, popularity, queries, rules, spare)

        learned: list[int] = []
        if ranker is not None and together is not None:
            learned = [place for place, request in enumerate(requests) if ranker.searches or request.query is None]
            if learned:
                self._parts.append((learned, ranker.ranking(prepared(learned), popularity, together)))
        summed = sorted(set(range(len(requests))) - set(learned))
        if summed:
            self._parts.append((summed, SummedRanking(prepared(summed), together)))

    def answer(self, first: int, excluded: Sequence[Sequence[str]]) -> list[Ranked]:
        """The answers to the requests from place ``first`` on, one for each element of ``excluded``: the items that it must not have.
        Each request can be answered once."""
        found: dict[int, Ranked] = {}
        for places, ranking in self._parts:
            begin, end = bisect_left(places, first), bisect_left(places, first + len(excluded))
            own = places[begin:end]
            found.update(zip(own, ranking.answer(begin, [excluded[place - first] for place in own]), strict=True))
        return [found[place] for place in range(first, first + len(excluded))]
