"""Converts the time of an event to UTC milliseconds. Accepts ISO 8601, epoch seconds and epoch milliseconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from streams.errors import Reason, RecordError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 100_000_000_000
"""Numbers from here on are milliseconds: as seconds this would be the year 5138, as milliseconds it is 1973."""
_ZONE = r"\s?(?:[Zz]|[+-]\d{2}(?::?\d{2})?)?"
_ISO = re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{{1,9}}))?)?{_ZONE})?", re.ASCII)
_COMPACT = re.compile(rf"(?:19|20)\d{{6}}(?:[Tt]\d{{4}}(?:\d\d)?{_ZONE})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,16}(?:\.\d{1,9})?", re.ASCII)
_SPACE_BEFORE_ZONE = re.compile(r"\s(?=[Zz+-])")
_MAX_CHARACTERS = 64


def to_milliseconds(value: float | str) -> int:
    """UTC milliseconds. Text without an offset counts as UTC. Raises RecordError if it is no time.

    >>> to_milliseconds("2011-12-09T12:50:00+08:00"), to_milliseconds("1323406200"), to_milliseconds(1323406200000)
    (1323406200000, 1323406200000, 1323406200000)
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, bool):
        raise RecordError(Reason.BAD_TIME, "occurred_at is neither a time nor a number")
    return _from_number(value)


def check_window(occurred_ms: int, now_ms: int, max_future_ms: int, max_age_ms: int) -> None:
    """Raises RecordError if the time lies too far ahead of or behind the clock."""
    if occurred_ms > now_ms + max_future_ms:
        raise RecordError(Reason.TIME_IN_FUTURE, f"more than {max_future_ms // 1000} s ahead of the clock (VEILSTREAM_MAX_FUTURE_S)")
    if occurred_ms < now_ms - max_age_ms:
        raise RecordError(Reason.TIME_TOO_OLD, f"older than {max_age_ms // 86_400_000} days (VEILSTREAM_MAX_AGE_DAYS)")


def floor_to(occurred_ms: int, bucket_ms: int) -> int:
    """Rounded down to the bucket, also before 1970."""
    return occurred_ms - occurred_ms % bucket_ms


def _from_number(value: float) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(Reason.BAD_TIME, "occurred_at is not a finite number")
    return int(value) if abs(value) >= _MILLISECONDS_FROM else math.floor(value * 1000)


def _from_text(text: str) -> int:
    if len(text) > _MAX_CHARACTERS:
        raise RecordError(Reason.BAD_TIME, f"occurred_at has more than {_MAX_CHARACTERS} characters")
    if text[4:5] == "-" and text[10:11] == "T" and text.isprintable():
        # What most producers write needs no closer look.
        moment = _parsed(text)
        if moment is not None:
            return _since_epoch(moment)
    text = text.strip()
    leap = 0
    if not _ISO.fullmatch(text):
        # Eight digits are a date: as epoch seconds they would lie in 1970.
        if not _COMPACT.fullmatch(text):
            if _NUMBER.fullmatch(text):
                return _from_number(float(text) if "." in text else int(text))
            raise RecordError(Reason.BAD_TIME, "occurred_at is neither ISO 8601 nor epoch seconds or milliseconds")
    elif text[14:19] == "59:60":
        # A leap second; like POSIX time, it counts as the second that follows.
        text = f"{text[:17]}59{text[19:]}"
        leap = 1000
    # ISO 8601 or its users allow what Python does not: a small t or z, a space before the zone.
    moment = _parsed(text) or _parsed(_SPACE_BEFORE_ZONE.sub("", text).upper())
    if moment is None:
        raise RecordError(Reason.BAD_TIME, "occurred_at is not a calendar date")
    return _since_epoch(moment) + leap


def _since_epoch(moment: datetime) -> int:
    elapsed = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH
    return elapsed.days * 86_400_000 + elapsed.seconds * 1000 + elapsed.microseconds // 1000


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
