"""The newest announcement of each channel, as signed. Nobody who only may write old records again can take it back.

As a file it is called a head: the store has one, and every worker keeps one beside its cached models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from nacl.signing import VerifyKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.announcement import Announcement, Channel, verify_announcement
from streams.models.registry.canonical import canonical
from streams.serde.records import ModelAnnouncement

HEAD = "announced.json"
MAX_HEAD_BYTES = 4 << 20
"""Longer files are no heads. A record of Kafka is at most 1 MiB by default, and there are two channels."""
_FORMAT = 1
_FIELDS = frozenset(ModelAnnouncement.__annotations__)
_AGAIN = "announce the intended version with `veilstream models promote`"


class Head:
    """Takes announcements in any order, and always ends with the same ones: those of the highest counter."""

    def __init__(self, key: VerifyKey, *, uncounted: bool = True) -> None:
        """``uncounted``: whether announcements without a counter are taken, which were made before there were counters."""
        self._key = key
        self._uncounted = uncounted
        self._newest: dict[Channel, tuple[Announcement, ModelAnnouncement]] = {}

    def take(self, record: Mapping[str, Any]) -> Announcement:
        """The announcement in a record, from now on the channel's newest. The same record may come twice.

        Raises ModelRefused if it can't be verified, if a newer one is known (``outdated``), or if it has no counter (``uncounted``).
        """
        announcement = verify_announcement(record, self._key)
        if announcement.counter == 0 and not self._uncounted:
            raise ModelRefused(Refusal.UNCOUNTED, f"an announcement has no counter, and VEILSTREAM_MODELS_UNCOUNTED is off; {_AGAIN}")
        known = self._newest.get(announcement.channel)
        if known is not None and _age(announcement, record) < _age(*known):
            raise ModelRefused(
                Refusal.OUTDATED,
                f"announcement {announcement.counter} of {announcement.channel} was written after {known[0].counter}: an old record was "
                f"written again; {_AGAIN}",
            )
        self._newest[announcement.channel] = (announcement, cast("ModelAnnouncement", dict(record)))
        return announcement

    def last(self, channel: Channel) -> Announcement | None:
        """The newest announcement of a channel, also one that withdraws."""
        known = self._newest.get(channel)
        return None if known is None else known[0]

    def records(self) -> list[ModelAnnouncement]:
        """The newest announcements, as signed."""
        return [record for _, (_, record) in sorted(self._newest.items())]

    def to_bytes(self) -> bytes:
        """The file: canonical JSON. Each announcement in it has its own signature."""
        return canonical(
            {"format": _FORMAT, "announcements": [{**record, "signature": record["signature"].hex()} for record in self.records()]}
        )


def head_records(data: bytes) -> list[dict[str, Any]]:
    """The records in a head's bytes; not yet verified. Raises ModelRefused if it is no head of this format."""
    try:
        found = json.loads(data)
        if len(data) > MAX_HEAD_BYTES or found["format"] != _FORMAT:
            raise ValueError
        records = [{**record, "signature": bytes.fromhex(record["signature"])} for record in found["announcements"]]
        if any(set(record) != _FIELDS for record in records):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ModelRefused(
            Refusal.MALFORMED, f"{HEAD} is no head of announcements, or of another version of Veilstream; {_AGAIN}"
        ) from None
    return records


def newer(head: Head, records: Iterable[Mapping[str, Any]]) -> tuple[list[Announcement], list[Refusal]]:
    """Takes what a head's file holds: the announcements that were not known, and why others are refused. Older ones are no fault there."""
    taken: list[Announcement] = []
    refused: list[Refusal] = []
    for record in records:
        try:
            before = head.records()
            announcement = head.take(record)
        except ModelRefused as error:
            if error.refusal != Refusal.OUTDATED:
                refused.append(error.refusal)
            continue
        if head.records() != before:
            taken.append(announcement)
    return taken, refused


def _age(announcement: Announcement, record: Mapping[str, Any]) -> tuple[int, int, bytes]:
    """Two announcers at the same moment may use one counter; then all readers take the same one, in whatever order they come."""
    return announcement.counter, announcement.announced_at, bytes(record["signature"])
