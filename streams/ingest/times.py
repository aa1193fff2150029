"""When an event happened: ISO 8601, epoch seconds or epoch milliseconds, brought to UTC milliseconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from streams.errors import Reason, RecordError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 100_000_000_000
"""Numbers from here on are milliseconds: as seconds this would be the year 5138, as milliseconds it is 1973."""
_NUMBER = re.compile(r"[+-]?\d{1,16}(?:\.\d{1,9})?")
_COMPACT = re.compile(r"\d{8}T\d{6}Z?")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?\s?(?:Z|[+-]\d{2}:?\d{2})?)?", re.IGNORECASE)


def to_milliseconds(value: float | str) -> int:
    """UTC milliseconds. Text without an offset counts as UTC. Raises RecordError where it is no time."""
    if isinstance(value, bool):
        raise RecordError(Reason.BAD_TIME, "occurred_at is neither a time nor a number")
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return _from_number(float(text) if "." in text else int(text))
        return _from_text(text)
    return _from_number(value)


def check_window(occurred_ms: int, now_ms: int, max_future_ms: int, max_age_ms: int) -> None:
    """Raises RecordError where the time lies too far ahead of or behind the clock."""
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
    return int(value) if abs(value) >= _MILLISECONDS_FROM else int(value * 1000)


def _from_text(text: str) -> int:
    if not (_ISO.fullmatch(text) or _COMPACT.fullmatch(text)):
        raise RecordError(Reason.BAD_TIME, "occurred_at is neither ISO 8601 nor epoch seconds or milliseconds")
    try:
        moment = datetime.fromisoformat(text.replace(",", ".").replace("z", "Z").replace(" Z", "Z").replace("t", "T"))
    except ValueError:
        raise RecordError(Reason.BAD_TIME, "occurred_at is no date of the calendar") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elapsed = moment - _EPOCH
    return elapsed.days * 86_400_000 + elapsed.seconds * 1000 + elapsed.microseconds // 1000
