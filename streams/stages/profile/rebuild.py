"""Rebuilds logged features from the topics, read exactly as far as the worker had read them, and compares.

The profiles follow from ``behaviour.clean`` by the stage's own rules, the boards from their topics. A board that was compacted since,
events that retention has removed, or what was linked to a shopper may make a rebuilt record differ: such a one is untold, not different.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

import numpy as np

from streams.engine.ports import FloatArray, RecordCodec, TopicCodecs
from streams.engine.records import SourceRecord
from streams.errors import RecordError
from streams.ranking.learned.batch import Pairs
from streams.ranking.learned.described import agreeing, features_of
from streams.ranking.learned.features import FEATURES, NAMES, levels, schema
from streams.ranking.learned.model import Ranker
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.prepared import Prepared
from streams.ranking.request import Request
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.records import CONSENT, ERASE, IDENTIFY, MOVE, CleanEvent, FeatureLog
from streams.stages.profile.history import apply_event
from streams.stages.profile.links import hand_over
from streams.stages.profile.profile import Profile
from streams.stages.profile.stage import check
from streams.stages.profile.triggers import request_of
from streams.stages.profile.withdrawal import decided, is_held_back, without_item
from streams.topics import BEHAVIOUR_CLEAN, ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS

Records = Mapping[int, Sequence[SourceRecord]]
"""By partition, a topic's records in order."""
Outcome = Literal["agrees", "differs", "untold"]
_FOREVER = 1 << 62


class LoggingModel(NamedTuple):
    """A model that computed features."""

    version: str
    dimension: int
    ranker: Ranker
    rules: ProfileRules


class Topics(NamedTuple):
    """All records of the topics that features are made of."""

    clean: Records
    vectors: Records
    popularity: Records
    together: Records


class Checked(NamedTuple):
    """One log, rebuilt."""

    log_id: str
    outcome: Outcome
    equal: float
    """Where it agrees, the share of its levels that are equal."""
    different: tuple[str, ...] = ()
    """Features of which a value is off by more than the tolerance; or why it is untold."""


class Wanted(NamedTuple):
    """What was asked of the ranking when a log was written; None where the event isn't there any more."""

    log: FeatureLog
    request: Request | None
    is_linked: bool = False
    """Whether the history that is there may lack what anonymous ids linked to it."""


def requests_of(logs: Sequence[FeatureLog], clean: Records, codecs: TopicCodecs, rules: ProfileRules) -> list[Wanted]:
    """The requests as the profiles stood at the logs' events, in order of partition and offset."""
    codec = codecs.for_topic(BEHAVIOUR_CLEAN)
    linked: set[str] = set()
    has_moves = False
    of_event = {(log["pseudonym"], log["source_offset"]): log for log in logs}
    found: list[Wanted] = []
    for partition in sorted(clean):
        profiles: dict[str, Profile] = {}
        for record in clean[partition]:
            try:
                event = cast(CleanEvent, codec.decode(record.value, record.headers))
                check(record.key, event)
            except RecordError:
                continue  # the stage refuses it too
            profile = profiles.setdefault(event["pseudonym"], Profile())
            if event["event_type"] == MOVE:
                has_moves = True  # whose history went where, only the stages may know
            elif event["event_type"] == CONSENT:
                profiles[event["pseudonym"]] = decided(profile, record.offset, event["refused"])
            elif event["event_type"] == ERASE:
                whole = event["item_id"] is None
                profiles[event["pseudonym"]] = Profile() if whole else without_item(profile, record.offset, event["item_id"] or "")
            elif is_held_back(profile):
                continue
            elif event["event_type"] == IDENTIFY:
                handed = hand_over(profile, event, record.offset, rules)
                if handed is not None:
                    profiles[event["pseudonym"]] = handed.profile
                    linked.update([event["linked_to"] or ""] if handed.link is not None else [])
            elif apply_event(profile, event, record.offset, rules):
                log = of_event.pop((event["pseudonym"], record.offset), None)
                if log is not None:
                    policy = log["policy"]
                    found.append(Wanted(log, request_of(profile, event, "search" if policy == "search" else "behaviour", rules)))
    # When a link was taken in, between which of the user's events, is nobody's promise: partitions have no order among each other.
    return [
        *(one._replace(is_linked=has_moves or one.log["pseudonym"] in linked) for one in found),
        *(Wanted(log, None) for log in of_event.values()),
    ]


def texts_of(wanted: Sequence[Wanted]) -> list[str]:
    """The query texts whose vectors are needed, each once."""
    requests = [one.request for one in wanted if one.request is not None]
    texts = [text for request in requests for text in (*(text for text, _ in request.queries), request.query)]
    return list(dict.fromkeys(text for text in texts if text is not None))


def rebuild(
    wanted: Sequence[Wanted], topics: Topics, codecs: TopicCodecs, model: LoggingModel, queries: Sequence[Mapping[str, FloatArray]]
) -> Iterator[Checked]:
    """Of logs that this model computed. ``queries``: the encoder's vectors of the texts, by each engine that a worker may have had."""
    boards = _Boards(topics, codecs, model)
    first_event = {partition: records[0].offset if records else 0 for partition, records in topics.clean.items()}
    is_cut = any(first_event.values())
    for log, request, is_linked in wanted:
        if log["features"] != schema():
            yield Checked(log["log_id"], "untold", 0.0, ("another table of features",))
            continue
        if request is None:
            yield Checked(log["log_id"], "untold", 0.0, ("its event is not in behaviour.clean any more",))
            continue
        positions = {board["board"]: board["next"] for board in log["boards"]}
        if not boards.reaches(positions):
            boards = _Boards(topics, codecs, model)
        boards.advance(positions)
        yield _compared(log, request, boards, model, queries, maybe=is_cut or is_linked or boards.has_holes())


def _compared(
    log: FeatureLog, request: Request, boards: _Boards, model: LoggingModel, queries: Sequence[Mapping[str, FloatArray]], *, maybe: bool
) -> Checked:
    matrix = boards.matrix
    rows = np.array([matrix.rows.get(item, -1) for item in log["items"]], np.int64)
    logged = np.frombuffer(log["levels"], np.uint8)
    if (rows < 0).any() or len(logged) != len(rows) * len(FEATURES):
        return Checked(log["log_id"], "untold" if maybe else "differs", 0.0, ("its items",))
    order = np.argsort(rows, kind="stable")
    logged = logged.reshape(len(rows), len(FEATURES))[order]
    pairs = Pairs(np.array([0, len(rows)], np.int64), rows[order])
    texts = [text for text, _ in request.queries] + ([] if request.query is None else [request.query])
    different: tuple[str, ...] = ()
    for vectors in queries if texts else queries[:1]:
        space = {text: matrix.transform(vectors[text]) for text in texts if text in vectors}
        batch = Prepared([request], matrix, boards.popularity, space, model.rules)
        found = features_of(batch, pairs, boards.popularity, boards.together, model.ranker.related)
        agree = agreeing(found, logged)
        if agree.all():
            return Checked(log["log_id"], "agrees", float((levels(found) == logged).mean()) if len(rows) else 1.0)
        own = tuple(name for name, column in zip(NAMES, agree.T, strict=True) if not column.all())
        different = own if not different else min(different, own, key=len)
    return Checked(log["log_id"], "untold" if maybe else "differs", 0.0, different)


@dataclass
class _Board:
    """One topic's records, taken in up to a position."""

    records: Records
    taken: dict[int, int] = field(default_factory=dict)
    """By partition, how many."""
    following: list[int] = field(default_factory=list)

    def until(self, following: Sequence[int]) -> list[SourceRecord]:
        """What is to be taken in to be there; it is not before where it is."""
        found: list[SourceRecord] = []
        for partition, end in enumerate(following):
            records, place = self.records.get(partition, ()), self.taken.get(partition, 0)
            while place < len(records) and records[place].offset < end:
                found.append(records[place])
                place += 1
            self.taken[partition] = place
        self.following = list(following)
        return found

    def has_holes(self) -> bool:
        """Whether something is missing before where it is."""
        return any(self.taken.get(partition, 0) != end for partition, end in enumerate(self.following))


def _is_before(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether positions lie nowhere behind others."""
    return len(first) <= len(second) and all(a <= b for a, b in zip(first, second, strict=False))


class _Boards:
    """What a worker had read. It goes forward only."""

    def __init__(self, topics: Topics, codecs: TopicCodecs, model: LoggingModel) -> None:
        def codec(topic: str) -> RecordCodec:
            return codecs.for_topic(topic)

        self.matrix = WhitenedItemMatrix(codec(ITEMS_VECTORS), model.version, model.dimension, changed_share=float("inf"))
        self.popularity = PopularityTable(codec(ITEMS_POPULARITY), model.rules.popularity_half_life_ms)
        self.together = TogetherTable(codec(ITEMS_TOGETHER), model.rules.together.half_life_ms, at_once=_FOREVER, changed_share=0.0)
        self._vectors, self._popularity, self._together = (_Board(one) for one in (topics.vectors, topics.popularity, topics.together))
        self._space: list[int] = []

    def reaches(self, positions: Mapping[str, list[int]]) -> bool:
        """Whether it can go on to there."""
        space = positions["space"]
        return (
            _is_before(self._vectors.following, positions["vectors"] if space == self._space else space)
            and _is_before(self._popularity.following, positions["popularity"])
            and _is_before(self._together.following, positions["together"])
        )

    def advance(self, positions: Mapping[str, list[int]]) -> None:
        space = positions["space"]
        if space != self._space:
            self.matrix.apply(self._vectors.until(space))
            self.matrix.fit_now()
            self._space = space
        self.matrix.apply(self._vectors.until(positions["vectors"]))
        self.popularity.apply(self._popularity.until(positions["popularity"]))
        self.together.apply(self._together.until(positions["together"]))
        self.together.refresh()

    def has_holes(self) -> bool:
        """Whether records are missing that may have been read."""
        return any(board.has_holes() for board in (self._vectors, self._popularity, self._together))
