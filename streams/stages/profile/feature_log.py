"""Which events' candidates are logged with their features, and the record that is published.

A log is what a ranker is trained and judged by later: what it looked at, level by level, as it was at that moment. Only a ranker's
candidates are logged: without one there is no table of features, and a shop's past is rebuilt from its training pairs instead.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from hashlib import blake2b

from streams.models.hotswap.serving_model import ServingModel
from streams.ranking.learned.features import schema
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.request import LookedAt
from streams.ranking.together_table import TogetherTable
from streams.serde.records import BoardPosition, CleanEvent, FeatureLog
from streams.stages.profile.profile import IssuedRecommendation

_HEXADECIMAL = 13
"""Characters of an event's id, 52 bits, that sampling looks at."""


def is_logged(event: CleanEvent, share: float) -> bool:
    """Whether the event is in the sample: the same answer whenever it comes, because an event's id is a hash.

    >>> [is_logged({"event_id": id + "0" * 31}, 0.5) for id in "07f8"]  # type: ignore[typeddict-item]
    [True, True, False, False]
    """
    return share > 0 and int(event["event_id"][:_HEXADECIMAL], 16) < share * float(16**_HEXADECIMAL)


_schema = cache(schema)


def log_id(event_id: str) -> bytes:
    """16 bytes: an event has one log, whichever worker and model made it."""
    return blake2b(bytes.fromhex(event_id), digest_size=16, person=b"vs.features").digest()


def board_positions(model: ServingModel, popularity: PopularityTable, together: TogetherTable) -> list[BoardPosition]:
    """How far all that features are made of has been read now. Whoever reads as far gets the same features."""
    matrix = model.matrix
    positions = {
        "vectors": matrix.read.following,
        "space": matrix.space_of,
        "popularity": popularity.read.following,
        "together": together.neighbours_of,
    }
    return [BoardPosition(board=board, next=following) for board, following in positions.items()]


def to_log(
    event: CleanEvent,
    offset: int,
    policy: str,
    looked_at: LookedAt,
    ids: Sequence[str],
    excluded: Collection[str],
    issued: IssuedRecommendation | None,
    version: str,
    boards: list[BoardPosition],
) -> FeatureLog:
    """``ids``: row to item. Candidates that could not be recommended at that moment, the ``excluded``, are left out."""
    items, levels = [ids[row] for row in looked_at.rows.tolist()], looked_at.levels
    closed = set(excluded).intersection(items)
    if closed:
        levels = levels[[item_id not in closed for item_id in items]]
        items = [item_id for item_id in items if item_id not in closed]
    return FeatureLog(
        log_id=log_id(event["event_id"]).hex(),
        pseudonym=event["pseudonym"],
        recommendation_id=None if issued is None else issued.recommendation_id.hex(),
        policy=policy,
        source_offset=offset,
        created_at=event["occurred_at"],
        model_version=version,
        features=_schema(),
        items=items,
        levels=levels.tobytes(),
        shown=[] if issued is None else [items.index(item_id) for item_id in issued.items],
        boards=boards,
    )
