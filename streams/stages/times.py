"""Converts the time of an event to UTC milliseconds: ISO 8601, what it is often written as, and epoch numbers.

A text that could be two moments is refused: 5/11/2026 is a day in May or in November, CST a zone of Chicago or of Shanghai.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo

from streams.errors import Reason, RecordError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 100_000_000_000
"""Numbers from here on are milliseconds: as seconds this would be the year 5138, as milliseconds it is 1973. Likewise microseconds
(BigQuery) and nanoseconds (Go, OpenTelemetry) from a thousand times that on each."""
_MICROSECONDS_FROM = _MILLISECONDS_FROM * 1000
_NANOSECONDS_FROM = _MICROSECONDS_FROM * 1000
_ZONE = r"\s?(?:[Zz]|[+-]\d{2}(?::?\d{2})?)?"
_ISO = re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{{1,9}}))?)?{_ZONE})?", re.ASCII)
_COMPACT = re.compile(rf"(?:19|20)\d{{6}}(?:[Tt]\d{{4}}(?:\d\d)?{_ZONE})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,19}(?:\.\d{1,9})?", re.ASCII)
_CLOCK = r"(?:[Tt\s]\s?(?P<clock>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)(?:\s?(?P<half>(?i:am|pm)))?)?"
_CLOCK_AFTER_HAN = _CLOCK.replace(r"[Tt\s]\s?", r"\s?", 1)
_OFFSET = r"(?:\s?(?:(?:GMT|UTC)(?=[+-]))?(?P<zone>[Zz]|[+-]\d\d:?\d\d|[A-Za-z]{2,5})(?:\s\([A-Za-z ]{2,50}\))?)?"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    r"(?P<name>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?)"
)
_WEEKDAY = r"(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},?\s+)?"
"""It is not compared with the date, which says the day by itself."""
_SPELLINGS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}}){_CLOCK}{_OFFSET}",
        rf"(?P<year>\d{{4}})\s?年\s?(?P<month>\d{{1,2}})\s?月\s?(?P<day>\d{{1,2}})\s?日{_CLOCK_AFTER_HAN}{_OFFSET}",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s-]{_MONTH}[\s-](?P<year>\d{{4}}){_CLOCK}{_OFFSET}",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+(?P<year>\d{{4}}){_CLOCK}{_OFFSET}",
        rf"(?P<either>\d{{1,2}})(?P<mark>[-/.])(?P<other>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}){_CLOCK}{_OFFSET}",
    )
)
_HAN_CLOCK = re.compile(r"\s?(\d{1,2})[时時点點](\d{1,2})分(?:(\d{1,2})秒)?", re.ASCII)
_JAVA_ZONE = re.compile(r"(?<=[Zz\d])\[[A-Za-z_/+\-0-9]{1,40}\]$", re.ASCII)
"""As java.time writes it, after the offset, which says all."""
_SPACE_BEFORE_ZONE = re.compile(r"\s(?=[Zz+-])")
_MAX_CHARACTERS = 64


def to_milliseconds(value: float | str, zone: tzinfo = UTC) -> int:
    """UTC milliseconds. Text without an offset is of the zone. Raises RecordError if it is no time, or could be two.

    >>> to_milliseconds("2011-12-09T12:50:00+08:00"), to_milliseconds("1323406200"), to_milliseconds(1323406200000)
    (1323406200000, 1323406200000, 1323406200000)
    """
    if isinstance(value, str):
        return _from_text(value, zone)
    if isinstance(value, bool):
        raise RecordError(Reason.BAD_TIME, "occurred_at is neither a time nor a number")
    return _from_number(value)


def _from_number(value: float) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(Reason.BAD_TIME, "occurred_at is not a finite number")
    size = abs(value)
    if size < _MILLISECONDS_FROM:
        return math.floor(value * 1000)
    if size < _MICROSECONDS_FROM:
        return int(value)
    return int(value) // (1000 if size < _NANOSECONDS_FROM else 1_000_000)


def _from_text(text: str, zone: tzinfo) -> int:
    if len(text) > _MAX_CHARACTERS:
        raise RecordError(Reason.BAD_TIME, f"occurred_at has more than {_MAX_CHARACTERS} characters")
    if text[4:5] == "-" and text[10:11] == "T" and text.isprintable():
        # What most producers write needs no closer look.
        moment = _parsed(text)
        if moment is not None:
            return since_epoch(moment, zone)
    text = text.strip()
    leap = 0
    if text.endswith("]"):
        text = _JAVA_ZONE.sub("", text)
    if not _ISO.fullmatch(text):
        # Eight digits are a date: as epoch seconds they would lie in 1970.
        if not _COMPACT.fullmatch(text):
            if _NUMBER.fullmatch(text):
                return _from_number(float(text) if "." in text else int(text))
            return _spelled(text, zone)
    elif text[14:19] == "59:60":
        # A leap second; like POSIX time, it counts as the second that follows.
        text = f"{text[:17]}59{text[19:]}"
        leap = 1000
    # ISO 8601 or its users allow what Python does not: a small t or z, a space before the zone.
    moment = _parsed(text) or _parsed(_SPACE_BEFORE_ZONE.sub("", text).upper())
    if moment is None:
        raise RecordError(Reason.BAD_TIME, "occurred_at is not a calendar date")
    return since_epoch(moment, zone) + leap


def _spelled(text: str, zone: tzinfo) -> int:
    """A date as people and older software write it. Raises RecordError."""
    if "年" in text:
        # 5时30分 or 5:30
        text = _HAN_CLOCK.sub(lambda match: f" {match[1]}:{match[2]}:{match[3] or '00'}", text)
    found = next((match for pattern in _SPELLINGS if (match := pattern.fullmatch(text))), None)
    if found is None:
        raise RecordError(Reason.BAD_TIME, "occurred_at is no time: neither ISO 8601, nor a number, nor a usual date")
    part = found.groupdict()
    if part.get("either"):
        month, day = _ordered(int(part["either"]), int(part["other"]))
    else:
        month = _MONTHS.index(part["name"][:3].lower()) + 1 if part.get("name") else int(part["month"])
        day = int(part["day"])
    offset = (part["zone"] or "").upper()
    if offset in ("UTC", "GMT", "UT"):
        offset = "Z"
    elif offset and offset[0] not in "+-" and offset != "Z":
        raise RecordError(Reason.BAD_TIME, "occurred_at is ambiguous: its zone is an abbreviation; write an offset such as +08:00")
    clock = part["clock"] or "00:00"
    if part["half"]:
        clock = _of_the_whole_day(clock, part["half"].lower())
    if clock[1] == ":":
        clock = f"0{clock}"
    moment = _parsed(f"{part['year']}-{month:02}-{day:02}T{clock}{offset}")
    if moment is None:
        raise RecordError(Reason.BAD_TIME, "occurred_at is not a calendar date")
    return since_epoch(moment, zone)


def _of_the_whole_day(clock: str, half: str) -> str:
    """Raises RecordError for an hour that half a day does not have."""
    hour, _, rest = clock.partition(":")
    if not 1 <= int(hour) <= 12:
        raise RecordError(Reason.BAD_TIME, "occurred_at has an hour that half a day does not have")
    return f"{int(hour) % 12 + (12 if half == 'pm' else 0):02}:{rest}"


def _ordered(first: int, second: int) -> tuple[int, int]:
    """Month and day. Raises RecordError where either could be the month."""
    if first == second or second > 12:
        return first, second
    if first > 12:
        return second, first
    raise RecordError(
        Reason.BAD_TIME,
        "occurred_at is ambiguous: day or month first; declare `time:` in the mapping of its source (%m/%d/%Y)",
    )


def since_epoch(moment: datetime, zone: tzinfo = UTC) -> int:
    """UTC milliseconds; a moment without an offset is of the zone. Where clocks are set back, the first of the two hours counts.

    Raises RecordError for an hour that was left out when clocks were set forward.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
        if zone is not UTC and moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment.replace(tzinfo=None):
            raise RecordError(Reason.BAD_TIME, "occurred_at is an hour that the clocks of its zone left out")
    elapsed = moment - _EPOCH
    return elapsed.days * 86_400_000 + elapsed.seconds * 1000 + elapsed.microseconds // 1000


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
