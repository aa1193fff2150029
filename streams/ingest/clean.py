"""One raw event to one clean event: the order in which the rules apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streams.errors import Reason, RecordError
from streams.ingest import money, normalise, quantity, region, times
from streams.ingest.rules import IngestRules
from streams.ingest.throttle import Throttle, is_automated_agent
from streams.privacy.pseudonym import Pseudonymizer
from streams.wire.records import CleanEvent

_WITH_QUANTITY = frozenset({"cart", "purchase", "return"})

Identify = Callable[[str], tuple[str, bytes]]
"""User id to pseudonym and sealed id."""


def clean_event(
    raw: Mapping[str, Any],
    *,
    topic: str,
    partition: int,
    offset: int,
    record_ms: int,
    now_ms: int,
    rules: IngestRules,
    identify: Identify,
    pseudonymizer: Pseudonymizer,
    throttle: Throttle,
) -> CleanEvent:
    """Apply every rule to an event. Raises RecordError, which names the field and never its value."""
    flags: list[str] = []
    user = normalise.user_id(raw["user_id"])
    kind = normalise.event_type(raw["event_type"])
    if is_automated_agent(raw["user_agent"]):
        raise RecordError(Reason.AUTOMATED, "the user agent is a robot's or a script's")
    query: str | None = None
    item: str | None = None
    if kind == "search":
        query, scrubbed = normalise.query(raw["query"])
        if scrubbed:
            flags.append("query_scrubbed")
    else:
        item = normalise.item_id(raw["item_id"])
    occurred_at = raw["occurred_at"]
    if occurred_at is None:
        occurred_ms = record_ms
        flags.append("time_filled")
    else:
        occurred_ms = times.to_milliseconds(occurred_at)
    times.check_window(occurred_ms, now_ms, rules.max_future_ms, rules.max_age_ms)
    units = 1
    if kind in _WITH_QUANTITY:
        units, capped = quantity.quantity(raw["quantity"], rules.quantity_cap, is_return=kind == "return")
        if capped:
            flags.append("quantity_capped")
    price = raw["price"]
    band = money.price_band(price) if price is not None else None
    code = money.currency(raw["currency"], rules.default_currency) if price is not None or raw["currency"] is not None else None
    country, unknown = region.country(raw["region"], rules.default_region)
    if unknown:
        flags.append("region_unknown")
    position = raw["position"]
    pseudonym, sealed = identify(user)
    if not throttle.allows(pseudonym, occurred_ms, offset):
        raise RecordError(Reason.AUTOMATED, "more events in a minute than people make (VEILSTREAM_THROTTLE_PER_MINUTE)")
    own_id = normalise.event_id(raw["event_id"])
    session = raw["session_id"]
    return {
        "event_id": pseudonymizer.event_id(user, own_id) if own_id else pseudonymizer.position_id(topic, partition, offset),
        "pseudonym": pseudonym,
        "sealed_id": sealed,
        "event_type": kind,
        "occurred_at": times.floor_to(occurred_ms, rules.time_bucket_ms),
        "item_id": item,
        "query": query,
        "quantity": units,
        "price_band": band,
        "currency": code,
        "country": country,
        "recommendation_id": normalise.recommendation_id(raw["recommendation_id"]),
        "position": position if position is not None and 0 <= position <= 10_000 else None,
        "session": pseudonymizer.session(user, normalise.event_id(session) or "") if session else None,
        "flags": flags,
    }
