"""Normalises identifiers, event types and queries."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set

from streams.errors import Reason, RecordError
from streams.privacy.kinds import NONE
from streams.privacy.pseudonym import ANONYMOUS
from streams.privacy.scrub import scrub
from streams.stages.placeholders import LONGEST, NOTHING, is_nobody, is_nothing

IDENTIFY = "identify"
"""The type of the event that links an anonymous shopper to a user."""
EVENT_TYPES = frozenset({"view", "click", "search", "cart", "purchase", "return", "impression", "dismiss", "wishlist", IDENTIFY})
MAX_USER = 256
MAX_ITEM = 128
MAX_QUERY = 256

_SCRUBBED_CHARACTERS = 4 * MAX_QUERY
_LONGEST_PERSONAL = 300
"""An e-mail address, the longest thing that is scrubbed and that a cut could leave half of, has at most 255 characters."""

_FORBIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_GAP = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029]")
_RECOMMENDATION_ID = re.compile(r"[0-9a-fA-F]{32}")


def event_type(value: str) -> str:
    """The type in lower case. Raises RecordError if there is none such."""
    known = value if value in EVENT_TYPES else value.strip().lower()
    if known not in EVENT_TYPES:
        raise RecordError(Reason.UNKNOWN_EVENT_TYPE, f"event_type must be one of {', '.join(sorted(EVENT_TYPES))}")
    return known


def user_id(value: str) -> str:
    """NFC, trimmed. Raises RecordError if it is empty, names nobody, is too long, or holds characters that no id needs."""
    cleaned = value.strip()
    if cleaned.startswith(ANONYMOUS):
        raise RecordError(Reason.BAD_USER, f"user_id begins with {ANONYMOUS}, which stands for anonymous ids; send it as anonymous_id")
    if not cleaned:
        raise RecordError(Reason.MISSING_USER, "user_id is empty")
    if is_nobody(cleaned):
        raise RecordError(Reason.NOBODY, "user_id is a placeholder, such as null or guest, that stands for many people")
    try:
        return _bounded(cleaned, MAX_USER)
    except ValueError as error:
        raise RecordError(Reason.BAD_USER, f"user_id {error}") from None


def shopper(user: str, anonymous: str | None) -> str:
    """The name of a shopper: her user id; where that is empty or names nobody, ``anonymous:`` and her anonymous id. Raises RecordError."""
    plain = anonymous.strip() if anonymous is not None else ""
    cleaned = user.strip()
    if not plain or (cleaned and not is_nobody(cleaned)):
        return user_id(user)
    if is_nobody(plain):
        raise RecordError(Reason.NOBODY, "user_id and anonymous_id are placeholders, such as null or guest, that stand for many people")
    try:
        return ANONYMOUS + _bounded(plain, MAX_USER)
    except ValueError as error:
        raise RecordError(Reason.BAD_USER, f"anonymous_id {error}") from None


def item_id(value: str | None) -> str:
    """NFC, trimmed. Raises RecordError as above; an id with ``@`` is refused, since it could be a person's address."""
    cleaned = value.strip() if value is not None else ""
    if not cleaned:
        raise RecordError(Reason.MISSING_ITEM, "item_id is needed for this event type")
    if len(cleaned) <= LONGEST and cleaned.lower() in NOTHING:
        raise RecordError(Reason.MISSING_ITEM, "item_id is a placeholder, such as null, that names no item")
    if "@" in cleaned or "\uff20" in cleaned:
        raise RecordError(Reason.BAD_ITEM, "item_id holds an @")
    try:
        return _bounded(cleaned, MAX_ITEM)
    except ValueError as error:
        raise RecordError(Reason.BAD_ITEM, f"item_id {error}") from None


def group_id(value: str | None) -> str | None:
    """NFC, trimmed; None where it is blank or a placeholder. Raises RecordError if it is too long or holds characters that no id needs."""
    cleaned = value.strip() if value is not None else ""
    if not cleaned or is_nothing(cleaned):
        return None
    try:
        return _bounded(cleaned, MAX_ITEM)
    except ValueError as error:
        raise RecordError(Reason.BAD_ITEM, f"group_id {error}") from None


def query(value: str | None, kept_kinds: Set[str] = NONE) -> tuple[str, bool]:
    """The query in NFKC (full-width letters become plain ones) without personal data (but for the kinds that are kept), white space folded,
    at most 256 characters; and whether anything was scrubbed.

    Raises RecordError if nothing is left to search for.
    """
    if value is None or not value.strip():
        raise RecordError(Reason.MISSING_QUERY, "query is needed for a search")
    text = value
    if len(text) > 4 * _SCRUBBED_CHARACTERS:
        # The time to normalise a long run of combining marks grows with its square.
        text = " ".join(text.split())[: 4 * _SCRUBBED_CHARACTERS]
    if not text.isprintable():
        # Before scrubbing, so that no invisible character hides a number from it.
        text = _FORBIDDEN.sub("", _GAP.sub(" ", text))
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = " ".join(text.split())
    text, scrubbed = _scrub_long(text, kept_kinds) if len(text) > _SCRUBBED_CHARACTERS else scrub(text, kept_kinds)
    text = _shorten(text, MAX_QUERY)
    if not text:
        raise RecordError(Reason.BAD_QUERY, "query holds no searchable characters")
    return text, scrubbed


def opaque_id(value: str | None) -> str | None:
    """An event or session id, which is only ever hashed, so any characters and length will do; None if it is blank."""
    if value is None:
        return None
    return (value if value.isascii() else value.encode("utf-8", "replace").decode()).strip() or None


def recommendation_id(value: str | None) -> str | None:
    """32 hexadecimal characters in lower case, else None: free text must not pass through."""
    return value.lower() if value is not None and _RECOMMENDATION_ID.fullmatch(value) else None


def _bounded(text: str, most: int) -> str:
    """NFC. Raises ValueError that says what is wrong."""
    if text.isascii():
        if not text.isprintable():
            raise ValueError("holds control characters")
    elif len(text) <= 4 * most:  # composition shortens a text by less than that
        if _FORBIDDEN.search(text):
            raise ValueError("holds control or invisible characters")
        text = unicodedata.normalize("NFC", text)
    if len(text) > most:
        raise ValueError(f"has more than {most} characters")
    return text


def _scrub_long(text: str, kept_kinds: Set[str]) -> tuple[str, bool]:
    """The beginning of a long text, scrubbed, and whether anything was removed.

    At a cut there may be half of an address or a number, which cannot be recognized. So the text is cut at two places, further
    apart than any personal data is long. What both results have in common comes from before both cuts.
    """
    longer, scrubbed = scrub(text[:_SCRUBBED_CHARACTERS], kept_kinds)
    shorter, _ = scrub(text[: _SCRUBBED_CHARACTERS - _LONGEST_PERSONAL], kept_kinds)
    common = next((place for place, pair in enumerate(zip(longer, shorter, strict=False)) if pair[0] != pair[1]), len(shorter))
    return longer[:common], scrubbed


def _shorten(text: str, most: int) -> str:
    """At most this many characters. A letter is not separated from its accents."""
    if len(text) <= most:
        return text
    while most and unicodedata.combining(text[most]):
        most -= 1
    return text[:most].rstrip()
