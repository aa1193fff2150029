"""Identifiers, event types and queries, brought to one form."""

from __future__ import annotations

import re
import unicodedata

from streams.errors import Reason, RecordError
from streams.privacy.scrub import scrub

EVENT_TYPES = frozenset({"view", "click", "search", "cart", "purchase", "return", "impression", "dismiss"})
MAX_USER = 256
MAX_ITEM = 128
MAX_QUERY = 256
MAX_EVENT_ID = 512

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile(r"\s+")
_RECOMMENDATION_ID = re.compile(r"[0-9a-f]{32}")


def event_type(value: str) -> str:
    """The type in lower case. Raises RecordError where there is none such."""
    known = value if value in EVENT_TYPES else value.strip().lower()
    if known not in EVENT_TYPES:
        raise RecordError(Reason.UNKNOWN_EVENT_TYPE, f"event_type must be one of {', '.join(sorted(EVENT_TYPES))}")
    return known


def user_id(value: str) -> str:
    """NFC, trimmed. Raises RecordError where it is empty, too long, or holds characters that no id needs."""
    cleaned = _identifier(value)
    if not cleaned:
        raise RecordError(Reason.MISSING_USER, "user_id is empty")
    if len(cleaned) > MAX_USER:
        raise RecordError(Reason.BAD_USER, f"user_id has more than {MAX_USER} characters")
    if _is_forbidden(cleaned):
        raise RecordError(Reason.BAD_USER, "user_id holds control or invisible characters")
    return cleaned


def item_id(value: str | None) -> str:
    """NFC, trimmed. Raises RecordError as above; an id with ``@`` is refused, since it could be an address."""
    cleaned = _identifier(value) if value is not None else ""
    if not cleaned:
        raise RecordError(Reason.MISSING_ITEM, "item_id is needed for this event type")
    if len(cleaned) > MAX_ITEM:
        raise RecordError(Reason.BAD_ITEM, f"item_id has more than {MAX_ITEM} characters")
    if _is_forbidden(cleaned) or "@" in cleaned:
        raise RecordError(Reason.BAD_ITEM, "item_id holds control or invisible characters or an @")
    return cleaned


def query(value: str | None) -> tuple[str, bool]:
    """The query without personal data, white space folded, at most 256 characters; and whether anything was scrubbed.

    Raises RecordError where nothing is left to search for.
    """
    if value is None or not value.strip():
        raise RecordError(Reason.MISSING_QUERY, "query is needed for a search")
    # Scrubbed before the final cut: half a phone number would not be known for one.
    bounded = value[: 4 * MAX_QUERY]
    if not bounded.isascii():
        bounded = unicodedata.normalize("NFC", _without_surrogates(bounded))
    text, scrubbed = scrub(bounded)
    if not text.isprintable():
        text = _FORBIDDEN.sub(" ", text)
    text = _SPACES.sub(" ", text).strip()[:MAX_QUERY].rstrip()
    if not text:
        raise RecordError(Reason.BAD_QUERY, "query holds no searchable characters")
    return text, scrubbed


def event_id(value: str | None) -> str | None:
    """The producer's id of the event, None where it gave none that can be used."""
    if value is None:
        return None
    cleaned = _without_surrogates(value).strip()
    return cleaned[:MAX_EVENT_ID] or None


def recommendation_id(value: str | None) -> str | None:
    """32 hexadecimal characters, else None: free text must not pass through."""
    return value if value is not None and _RECOMMENDATION_ID.fullmatch(value) else None


def _identifier(value: str) -> str:
    cleaned = value.strip()
    return cleaned if cleaned.isascii() else unicodedata.normalize("NFC", cleaned)


def _is_forbidden(text: str) -> bool:
    return not (text.isascii() and text.isprintable()) and _FORBIDDEN.search(text) is not None


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")
