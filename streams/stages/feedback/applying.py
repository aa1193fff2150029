"""What one record of a source makes of a shopper."""

from __future__ import annotations

from streams.audit.actions import ERASED, erasure_details
from streams.serde.flags import RARE_QUERY
from streams.serde.records import CONSENT, ERASE, CleanEvent, Recommendation, has_shopper
from streams.stages.feedback.ledger import Interaction, Outstanding, Past, Shopper
from streams.stages.feedback.rules import HISTORY_EVENTS, OUTCOME_OF_EVENT, FeedbackRules
from streams.stages.feedback.timers import PartitionTimers

OF_THE_SHOPPER = (CONSENT, ERASE)
"""Types of events that say what becomes of all that is kept."""


def apply_event(shopper: Shopper, offset: int, event: CleanEvent, works: PartitionTimers, rules: FeedbackRules) -> bool:
    """Whether the shopper, in place, or what is known of the partition's records of hers, has changed."""
    if event["event_type"] in OF_THE_SHOPPER:
        # Its time is no event time: the watermark stays.
        if offset <= shopper.clean_offset:
            return False
        shopper.clean_offset = offset
        if event["event_type"] == CONSENT:
            shopper.decide(offset, bool(event["refused"]))
        elif event["item_id"] is None:
            shopper.erase(offset)
        else:
            shopper.forget_item(offset, event["item_id"])
        return True
    before_ms, time_ms = works.watermark_ms, event["occurred_at"]
    if time_ms > before_ms:
        works.watermark_ms = time_ms
    if offset <= shopper.clean_offset:
        return False
    shopper.clean_offset = offset
    if shopper.refuses or not shopper.is_new(event["event_id"]):
        return True
    kind, item_id = event["event_type"], event["item_id"]
    if item_id is not None and kind in OUTCOME_OF_EVENT:
        shopper.interactions.append(Interaction(offset, time_ms, kind, item_id, event["event_id"], event["recommendation_id"], before_ms))
        del shopper.interactions[: -rules.interactions_kept]
    if kind in HISTORY_EVENTS and RARE_QUERY not in event["flags"]:
        ref = event["query"] if kind == "search" else item_id
        if ref is not None:
            shopper.history.append(Past(offset, time_ms, "query" if kind == "search" else "item", ref, kind))
    return True


def apply_recommendation(shopper: Shopper, offset: int, value: Recommendation, works: PartitionTimers) -> bool:
    """The same of a list."""
    works.source_offset = max(works.source_offset, value["source_offset"])
    if not value["trainable"]:
        return False
    if offset <= shopper.recommendation_offset or value["source_offset"] <= shopper.refused_offset:
        return False
    shopper.recommendation_offset = offset
    identity = value["recommendation_id"]
    items = list(dict.fromkeys(item["item_id"] for item in value["items"]))
    if not shopper.names_forgotten(value["source_offset"], items) and all(
        known.recommendation_id != identity for known in shopper.outstanding
    ):
        shopper.outstanding.append(
            Outstanding(identity, value["created_at"], value["source_offset"], value["policy"], value["model_version"], items)
        )
    return True


def concerns(event: CleanEvent) -> bool:
    """Whether something is learnt from an event: nobody was recommended anything, and some do not allow it."""
    return has_shopper(event) and (event["event_type"] in OF_THE_SHOPPER or not event["refused"])


def empties(shopper: Shopper, offset: int, event: CleanEvent) -> bool:
    """Whether from an event on nothing that was kept before may be read any more, from no old copy either."""
    wants = event["event_type"] == ERASE or (event["event_type"] == CONSENT and bool(event["refused"]))
    return wants and offset > shopper.clean_offset


def receipts(shopper: Shopper, offset: int, event: CleanEvent) -> list[tuple[int, str, str, dict[str, str]]]:
    """For the audit, what an event makes of what is held of its shopper: offset, action, subject, details. The decision itself is in
    profile's chain."""
    if event["event_type"] != ERASE or offset <= shopper.clean_offset:
        return []
    held = {"outstanding": len(shopper.outstanding), "interactions": len(shopper.interactions), "history": len(shopper.history)}
    return [(offset, ERASED, event["pseudonym"], erasure_details(event["request_id"], event["item_id"], **held))]
