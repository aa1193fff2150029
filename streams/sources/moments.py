"""Times by a declared format, zone and unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from streams.errors import Reason, RecordError
from streams.stages.times import since_epoch, to_milliseconds

ReadTime = Callable[[Any], int | float | str | None]

UNITS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_DIRECTIVES = re.compile(r"%(?:[YmdHMSfIpbByzZjaA%])")
_MILLISECONDS_FROM = 100_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d{1,19}(?:\.\d{1,9})?", re.ASCII)


def time_reader(formats: Sequence[str] = (), zone: str | None = None, unit: str | None = None) -> ReadTime:
    """A function from a value to what ``occurred_at`` may hold. It raises RecordError for a text that fits none of the formats, or is of
    an hour that never was. Raises ValueError, which says why, for a format, zone or unit that is not known.
    """
    place = _zone(zone)
    for form in formats:
        if _DIRECTIVES.sub("", form).count("%") or "%" not in form or len(form) > 64:
            raise ValueError(f"time format {form!r} must be of directives of strptime such as %d.%m.%Y %H:%M")
    if unit is not None and unit not in UNITS:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}")
    if not formats and zone is None and unit is None:
        return lambda value: value if value is None or type(value) in (int, float, str) else _wrong()
    known = tuple(formats)

    @lru_cache(4096)
    def from_text(text: str) -> int | str:
        text = text.strip()
        if unit is not None and _NUMBER.fullmatch(text):
            return _of_unit(float(text) if "." in text else int(text), unit)
        if not known:
            return _plain(to_milliseconds(text, place))
        for form in known:
            try:
                moment = datetime.strptime(text, form)
            except ValueError:
                continue
            return _plain(since_epoch(moment, place))
        raise RecordError(Reason.BAD_TIME, "occurred_at does not fit the declared time format")

    def read(value: Any) -> int | float | str | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, str):
            if len(value) > 64:
                raise RecordError(Reason.BAD_TIME, "occurred_at has more than 64 characters")
            return from_text(value)
        if type(value) is int or type(value) is float:
            return value if unit is None else _of_unit(value, unit)
        return _wrong()

    return read


def _of_unit(value: float, unit: str) -> int | str:
    times, over = UNITS[unit]
    try:
        return _plain(int(value * times) // over if isinstance(value, int) or over == 1 else int(value) // over)
    except (OverflowError, ValueError):
        raise RecordError(Reason.BAD_TIME, "occurred_at is not a finite number") from None


def _plain(ms: int) -> int | str:
    """Milliseconds that are read as such: the first years after 1970 are written out, since small numbers count as seconds."""
    if abs(ms) >= _MILLISECONDS_FROM:
        return ms if abs(ms) < _MILLISECONDS_FROM * 1000 else _out_of_range()
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat()


def _zone(name: str | None) -> tzinfo:
    if name is None or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"zone {name!r} is none of the IANA time zones, such as Asia/Shanghai") from None


def _wrong() -> str:
    raise RecordError(Reason.BAD_TIME, "occurred_at is neither a time nor a number")


def _out_of_range() -> int:
    raise RecordError(Reason.BAD_TIME, "occurred_at is not a time in the declared unit")
