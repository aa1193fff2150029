"""What shoppers did, as training pairs tell it: what they turned to, and the returns and searches that only the pairs' histories tell."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from streams.ranking.rules import CODES
from streams.serde.records import TrainingPair

_TOLD = frozenset({"return", "search"})
"""No pair is made of these; they are in the histories of later pairs."""


class PastEvent(NamedTuple):
    """One thing that a shopper did."""

    at_ms: int
    shopper: str
    did: str
    """Type of event, or outcome of a recommendation."""
    ref: str
    """Item id, or the text of a search."""
    reward: float
    name: str
    """Hexadecimal, at least 16 characters; the same for the same interaction."""

    @property
    def item_id(self) -> str | None:
        return None if self.did == "search" else self.ref


class Told(NamedTuple):
    """A return or a search."""

    at_ms: int
    shopper: str
    did: str
    ref: str


def told_by_histories(pairs: Iterable[TrainingPair]) -> set[Told]:
    """Every return and search that a history holds, once however many pairs tell of it."""
    return {
        Told(pair["occurred_at"] - past["age_ms"], pair["pseudonym"], past["event_type"], past["ref"])
        for pair in pairs
        for past in pair["history"]
        if past["event_type"] in _TOLD
    }


def past_events(pairs: Iterable[TrainingPair]) -> list[PastEvent]:
    """All of them, in order of time. Those of the same moment keep the pairs' order: an order by name would change with the key of the
    pseudonyms. What only histories tell comes after the pairs of its moment; it changes its shopper's profile alone."""
    own = [pair for pair in pairs if pair["outcome"] in CODES]
    found = [PastEvent(p["occurred_at"], p["pseudonym"], p["outcome"], p["item_id"], p["reward"], p["pair_id"]) for p in own]
    for told in sorted(told_by_histories(own)):
        name = blake2b("\x00".join(map(str, told)).encode(), digest_size=16).hexdigest()
        found.append(PastEvent(*told, 0.0, name))
    return sorted(found, key=lambda one: one.at_ms)
