"""The id of a recommendation, the part of it that a profile keeps, and the record that is published."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

import numpy as np

from streams.privacy.consent import TRAINING
from streams.ranking.request import Ranked, Source
from streams.ranking.rules import EVENT_TYPES, ProfileRules
from streams.serde.records import CleanEvent, ReasonPart, Recommendation, RecommendedItem, has_shopper
from streams.stages.profile.profile import IssuedRecommendation, Profile, pack_issued

_PARTS = 4
"""Of a score."""
NO_THRESHOLD = -1e6
"""Far below any score."""


def recommendation_id(pseudonym: str, event_id: str, model_version: str) -> bytes:
    """16 bytes of BLAKE2b over who, why and by which model: the same on every redo."""
    identity = "\0".join((pseudonym, event_id, model_version))
    return blake2b(identity.encode(), digest_size=16, person=b"vs.recommend").digest()


def answer_id(event: CleanEvent) -> bytes:
    """16 bytes by which the runtime knows, after a crash, that an event was answered: whichever model did, it is not answered again.
    An event's id is a hash of shopper and event already."""
    return bytes.fromhex(event["event_id"])


def make(
    event: CleanEvent,
    offset: int,
    policy: str,
    ranked: Ranked,
    *,
    model_version: str,
    rules: ProfileRules,
    unnamed: Collection[str] = (),
) -> IssuedRecommendation:
    """What is kept of a recommendation; all that goes out can be made from it and the event. The items ``unnamed`` are named by no reason:
    their shares are told, and that they are an item's."""
    return IssuedRecommendation(
        offset=offset,
        recommendation_id=recommendation_id(event["pseudonym"], event["event_id"], model_version),
        model_version=model_version,
        policy=policy,
        threshold=rules.threshold,
        items=ranked.items,
        scores=ranked.scores.astype("<f4").tobytes(),
        sources=[_without_name(one) if one.item_id in unnamed else one for one in ranked.sources] if unnamed else ranked.sources,
        reasons=ranked.reasons.astype("<u2").tobytes(),
        shares=ranked.shares.astype("<f4").tobytes(),
        judged=b"" if ranked.judged is None else ranked.judged.astype("<f8").tobytes(),
    )


def _without_name(source: Source) -> Source:
    return Source(source.kind, None, source.event_type)


def remember(profile: Profile, issued: IssuedRecommendation, time_ms: int, rules: ProfileRules) -> None:
    """Record the recommended items in the profile, so that they are not recommended again at once. Remove expired entries."""
    since = time_ms - rules.recommended_cooldown_ms
    recent = [shown for shown in profile.recommended if shown[0] > since]
    profile.recommended = [*recent, (time_ms, issued.items)][-rules.recommended_size :]
    profile.issued = [*profile.issued, (issued.offset, pack_issued(issued))][-rules.made_size :]


def to_record(issued: IssuedRecommendation, event: CleanEvent) -> Recommendation:
    """The value for the topic."""
    count = len(issued.items)
    scores, judged = scores_of(issued), judged_of(issued)
    width = len(issued.reasons) // (2 * count) if count else 0
    places = np.frombuffer(issued.reasons, "<u2").reshape(count, width).tolist()
    shares = np.frombuffer(issued.shares, "<f4").reshape(count, width).tolist()
    return Recommendation(
        recommendation_id=issued.recommendation_id.hex(),
        pseudonym=event["pseudonym"],
        sealed_id=event["sealed_id"],
        policy=issued.policy,
        trigger_event_id=event["event_id"],
        trigger_type=event["event_type"],
        source_offset=issued.offset,
        created_at=event["occurred_at"],
        model_version=issued.model_version,
        threshold=issued.threshold,
        items=[
            RecommendedItem(
                item_id=item_id,
                rank=rank,
                score=cosine + prior + together + match if judged is None else judged[rank][0],
                cosine=cosine,
                prior=prior,
                reasons=[_reason(issued.sources[p], s) for p, s in zip(places[rank], shares[rank], strict=True) if s],
                together=together,
                match=match,
                probability=None if judged is None else judged[rank][1],
            )
            for rank, (item_id, (cosine, prior, together, match)) in enumerate(zip(issued.items, scores, strict=True))
        ],
        profiled=has_shopper(event),
        trainable=is_trainable(event),
    )


def is_trainable(event: CleanEvent) -> bool:
    """Whether something may be learnt from what becomes of a recommendation."""
    return has_shopper(event) and TRAINING not in event["refused"]


def scores_of(issued: IssuedRecommendation) -> list[list[float]]:
    """Cosine, prior, together and match of each item. Profiles of earlier versions hold the first two."""
    count = len(issued.items)
    numbers = np.frombuffer(issued.scores, "<f4")
    if len(numbers) < _PARTS * count:
        numbers = np.pad(numbers.reshape(count, -1), ((0, 0), (0, _PARTS - len(numbers) // count)))
    found: list[list[float]] = numbers.reshape(count, _PARTS).tolist()
    return found


def judged_of(issued: IssuedRecommendation) -> list[list[float]] | None:
    """A ranker's score and probability of each item; None where none served."""
    if not issued.judged:
        return None
    found: list[list[float]] = np.frombuffer(issued.judged, "<f8").reshape(-1, 2).tolist()
    return found


def _reason(source: Source, share: float) -> ReasonPart:
    event_type = None if source.event_type is None else EVENT_TYPES[source.event_type]
    return ReasonPart(kind=source.kind, item_id=source.item_id, event_type=event_type, share=share)
