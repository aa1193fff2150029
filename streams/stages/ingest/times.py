"""The window of time that events may come from, and the bucket that their time is rounded to."""

from __future__ import annotations

from streams.errors import Reason, RecordError
from streams.stages.times import to_milliseconds

__all__ = ["check_window", "floor_to", "to_milliseconds"]


def check_window(occurred_ms: int, now_ms: int, max_future_ms: int, max_age_ms: int) -> None:
    """Raises RecordError if the time lies too far ahead of or behind the clock."""
    if occurred_ms > now_ms + max_future_ms:
        raise RecordError(Reason.TIME_IN_FUTURE, f"more than {max_future_ms // 1000} s ahead of the clock (VEILSTREAM_MAX_FUTURE_S)")
    if occurred_ms < now_ms - max_age_ms:
        raise RecordError(Reason.TIME_TOO_OLD, f"older than {max_age_ms // 86_400_000} days (VEILSTREAM_MAX_AGE_DAYS)")


def floor_to(occurred_ms: int, bucket_ms: int) -> int:
    """Rounded down to the bucket, also before 1970."""
    return occurred_ms - occurred_ms % bucket_ms
