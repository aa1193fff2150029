"""The actions of the audit, and the details that each has. docs/audit.md has the same table for readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from streams.privacy.scrub import scrub

CONSENT = "consent"
"""A shopper's decision took effect. Subject: the pseudonym. Details: each purpose, ``true`` or ``false``."""
ERASED = "erased"
"""What a stage held of a shopper is gone. Subject: the pseudonym. Details: ``request_id``, how many of what were held, and ``item_id``
where only that was forgotten."""
FORGETTING, EXPORTING = "forgetting", "exporting"
"""Somebody asked for it by a command. Subject: the pseudonym, where the command may know it. Details of the first: as of ``erased``."""
K = "k"
"""How many shoppers share what is told of an event. Details: ``attribute``, ``k``, and what was counted."""
KEY_ROTATED, KEY_RETIRED = "key_rotated", "key_retired"
"""An operator replaced a key, or ended the overlap. Details: ``purpose``, and the id of the key that was replaced; of the second, how much
had not moved."""
STARTED, STOPPED = "started", "stopped"
PROMOTED, ROLLED_BACK, WITHDRAWN = "promoted", "rolled_back", "withdrawn"
EXPIRED = "expired"
"""A version was kept long enough, and is removed from the store. Subject: the version."""

_MOST_TEXT = 500


class Announced(Protocol):
    """The part of an announcement that the audit has."""

    @property
    def channel(self) -> str: ...
    @property
    def counter(self) -> int: ...
    @property
    def parent(self) -> str | None: ...
    @property
    def canary_share(self) -> float: ...
    @property
    def reason(self) -> str: ...


def consent_details(refused: Collection[str], purposes: Collection[str]) -> dict[str, str]:
    """Details of ``consent``.

    >>> consent_details(["training"], ("personalization", "training"))
    {'personalization': 'true', 'training': 'false'}
    """
    return {purpose: str(purpose not in refused).lower() for purpose in purposes}


def erasure_details(request_id: str | None, item_id: str | None, **held: int) -> dict[str, str]:
    """Details of ``erased``; ``held``: how many of what were there before."""
    found = {name: str(count) for name, count in held.items()}
    if request_id is not None:
        found["request_id"] = request_id
    if item_id is not None:
        found["item_id"] = item_id
    return found


def announcement_details(announcement: Announced) -> dict[str, str]:
    """Details of ``promoted``, ``rolled_back`` and ``withdrawn``; the reason scrubbed, because somebody may have typed it."""
    found = {"channel": announcement.channel, "counter": str(announcement.counter), "reason": as_detail(announcement.reason)}
    if announcement.parent is not None:
        found["parent"] = announcement.parent
    if announcement.canary_share:
        found["canary_share"] = f"{announcement.canary_share:.4g}"
    return found


def recovery_details(reasons: Collection[str], edits: Mapping[str, str], *, accept_unsigned: bool, shown: bool) -> dict[str, str]:
    """Details of ``replaying`` and ``opening``: which fields were set, never to what."""
    return {
        "reasons": ",".join(sorted(reasons)) or "all",
        "fields_set": as_detail(",".join(sorted(edits))),
        "accept_unsigned": str(accept_unsigned).lower(),
        "shown": str(shown).lower(),
    }


class MeasuredShare(Protocol):
    """The part of a measurement of anonymity that the audit has."""

    @property
    def attribute(self) -> str: ...
    @property
    def told(self) -> int: ...
    @property
    def kept_back(self) -> int: ...
    @property
    def least(self) -> int: ...
    @property
    def below(self) -> int: ...


def anonymity_details(k: int, measured: MeasuredShare) -> dict[str, str]:
    """Details of ``k``."""
    counts = {name: str(getattr(measured, name)) for name in ("told", "kept_back", "least", "below")}
    return {"attribute": measured.attribute, "k": str(k), **counts}


def as_detail(text: str) -> str:
    """What somebody typed, as a detail: scrubbed of personal data, and not long."""
    return scrub(text)[0][:_MOST_TEXT]
