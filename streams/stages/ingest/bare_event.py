"""A clean event that says nothing but when, and of whom."""

from __future__ import annotations

from streams.serde.records import CleanEvent


def bare(event_id: str, pseudonym: str, sealed_id: bytes, event_type: str, occurred_at: int) -> CleanEvent:
    """``occurred_at``: milliseconds, as coarse as it goes further."""
    return {
        "event_id": event_id,
        "pseudonym": pseudonym,
        "sealed_id": sealed_id,
        "event_type": event_type,
        "occurred_at": occurred_at,
        "item_id": None,
        "query": None,
        "quantity": 1,
        "price_band": None,
        "currency": None,
        "country": None,
        "recommendation_id": None,
        "position": None,
        "session": None,
        "flags": [],
        "linked_to": None,
        "refused": [],
        "request_id": None,
        "move": None,
    }
