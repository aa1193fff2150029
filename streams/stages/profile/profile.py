"""The profile of a shopper, and its bytes in the stage's table. A change of model never invalidates it."""

from __future__ import annotations

import msgspec

from streams.errors import ConfigurationError
from streams.ranking.request import Entry, Source

_VERSION = b"\x01"
NEVER = -(1 << 62)
"""A time before all times, milliseconds."""


class IssuedRecommendation(msgspec.Struct, array_like=True, frozen=True):
    """A recommendation in short form, without the data that its triggering event already has. Profiles keep the last ones, so that a
    redo gives the same result.
    """

    offset: int
    """Of the triggering event."""
    recommendation_id: bytes
    model_version: str
    policy: str
    threshold: float
    items: list[str]
    """Best first."""
    scores: bytes
    """float32 [items, 4]: cosine, prior, together, match."""
    sources: list[Source]
    reasons: bytes
    """uint16 [items, reasons]: places in ``sources``, largest share first."""
    shares: bytes
    """float32 [items, reasons]."""
    judged: bytes = b""
    """float64 [items, 2]: a ranker's score and the probability; empty where none served."""


class Linked(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One element that a link brought (``links``)."""

    link: bytes
    """The first 8 bytes of the link's id."""
    is_query: bool
    ref: str
    """The item, or the query's text."""
    entry: Entry


class Moved(msgspec.Struct, array_like=True, frozen=True):
    """What was done under the pseudonyms that the shopper had before the key was rotated (``moves``). Fields are as those of a profile."""

    linked: list[Linked] = []
    """The whole history, weakest first."""
    bought: dict[str, int] = {}
    recommended: list[tuple[int, list[str]]] = []
    regrets: dict[str, int] = {}
    counted: dict[str, bytes] = {}
    counted_days: int = 0
    was_handed_over: bool = False
    refused: tuple[str, ...] = ()
    """What she did not allow; it holds until she decides anew."""


class Profile(msgspec.Struct, array_like=True):
    """All that is known of one pseudonym. Dicts and lists keep the order in which things came."""

    applied_offset: int = -1
    """Of the last event of ``behaviour.clean`` that is in here."""
    items: dict[str, Entry] = {}
    queries: dict[str, Entry] = {}
    event_ids: bytes = b""
    """The first 8 bytes of recent event ids, end to end."""
    bought: dict[str, int] = {}
    """When an item was bought, milliseconds."""
    recommended: list[tuple[int, list[str]]] = []
    """When the last recommendations were made, milliseconds, and of which items; oldest first."""
    triggered_at: int = NEVER
    """Event time of the last behaviour trigger."""
    issued: list[tuple[int, bytes]] = []
    """The last recommendations, oldest first: offset of the trigger, and an ``IssuedRecommendation`` that is unpacked only if
    that comes again."""
    regrets: dict[str, int] = {}
    """Items whose dismissal (1) or return (2) by this shopper was counted; both: 3."""
    counted_day: int = -1
    """Day of event time, since 1970, of the last event that counted for popularity."""
    counted_events: int = 0
    """How many of that day have counted."""
    counted: dict[str, bytes] = {}
    """Of the last items with events that counted, when these were (``influence``); the last one is the newest."""
    linked: list[Linked] = []
    """What was done under anonymous ids that are this user's by consent, weakest first. ``links.whole_of`` sees it with the rest as one."""
    linked_bought: dict[str, int] = {}
    """When an item was bought under them, milliseconds; the last one is the newest."""
    counted_days: int = 0
    """How many days of event time had events that counted; one that comes back after another counts again."""
    was_handed_over: bool = False
    """It begins anew: it is of a browser whose shopper became known, or of a shopper who allowed no personalization for a while. What
    counted is forgotten with the rest, so what is done from now on counts no more in what all shoppers see: else one browser could count
    again after every log-in."""
    refused: tuple[str, ...] = ()
    """The purposes that the shopper does not allow, by the last ``consent`` event. It holds back events that an ingest worker passed on
    which did not know that yet."""
    has_decided: bool = False
    """A ``consent`` event came under this pseudonym: what was refused under a former one counts no more."""
    moved: Moved | None = None
    was_moved: bool = False
    """All of it went to another pseudonym; a mark that says nothing of that one."""


_DAMAGED = "a profile in the state is damaged; delete the stage's local state, it is rebuilt"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)
_issued_decoder = msgspec.msgpack.Decoder(IssuedRecommendation)


def pack_issued(recommendation: IssuedRecommendation) -> bytes:
    return _encoder.encode(recommendation)


def unpack_issued(data: bytes) -> IssuedRecommendation:
    """Raises ConfigurationError for what is none."""
    try:
        return _issued_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(_DAMAGED) from error


def dump_profile(profile: Profile) -> bytes:
    """A version byte, then MessagePack."""
    return _VERSION + _encoder.encode(profile)


def load_profile(data: bytes) -> Profile:
    """Raises ConfigurationError if another version of the product wrote it, or it is damaged."""
    if data[:1] != _VERSION:
        raise ConfigurationError("a profile was written by another version of veilstream; use that one, or delete the stage's state")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(_DAMAGED) from error
