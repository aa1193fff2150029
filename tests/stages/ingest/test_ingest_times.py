"""Times in every spelling that producers use, and none that only looks like one."""

from __future__ import annotations

import datetime as dt
import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.stages.ingest import times as module
from streams.stages.ingest.times import check_window, floor_to, to_milliseconds

MOMENT = 1_323_434_999_000  # 2011-12-09T12:49:59Z
zones = st.timezones() | st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)))


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "spelling",
    [
        "2011-12-09T12:49:59Z",
        "2011-12-09T12:49:59",
        "2011-12-09 12:49:59",
        "2011-12-09t12:49:59z",
        "2011-12-09 12:49:59 Z",
        "2011-12-09T20:49:59+08:00",
        "2011-12-09T20:49:59+0800",
        "2011-12-09T20:49:59 +08",
        "2011-12-09T12:49:59.000Z",
        "2011-12-09T12:49:59,000Z",
        "2011-12-09T12:49:59.000000000Z",
        "20111209T124959Z",
        "  2011-12-09T12:49:59Z\n",
        "1323434999",
        "1323434999.0",
        "1323434999000",
        "+1323434999",
        1_323_434_999,
        1_323_434_999.0,
        1_323_434_999_000,
        1_323_434_999_000.0,
    ],
)
def test_spellings(spelling: float | str) -> None:
    assert to_milliseconds(spelling) == MOMENT


@pytest.mark.parametrize(
    ("spelling", "moment"),
    [
        ("2011-12-09", 1_323_388_800_000),
        ("20111209", 1_323_388_800_000),
        ("2011-12-09T12:49", 1_323_434_940_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2017-01-01T07:59:60+08:00", 1_483_228_800_000),
        ("1969-12-31T23:59:59.5Z", -500),
        (-0.0, 0),
        (-1.5, -1500),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
    ],
)
def test_edges(spelling: float | str, moment: int) -> None:
    assert to_milliseconds(spelling) == moment


@pytest.mark.parametrize(
    "spelling",
    [
        "", " ", "now", "yesterday", "11-12-09", "09/12/2011", "2011-13-01", "2011-02-30", "0000-01-01", "0000-01-01T00:00:00Z",
        "10000-01-01", "2011-12-09T25:00:00Z", "2011-12-09T12:60:00Z", "2011-12-09T12:30:60Z", "2011-12-09T12:49:59+99:99",
        "2011-12-09T12:49:59ZZ", "2011-12-09T", "2011-12", "２０１１-12-09", "1323434999e3", "0x10", "NaN", "inf", "--1", "1_000_000_000",
        "2011-12-09T12:49:59Z\x00", "1" * 17, "9" * 100_000, "2011-12-09T12:49:59." + "0" * 100_000, "\u200f2011-12-09",
        math.nan, math.inf, -math.inf, True, False,
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_no_times(spelling: float | str) -> None:
    with pytest.raises(RecordError) as raised:
        to_milliseconds(spelling)
    assert raised.value.reason is Reason.BAD_TIME
    assert not str(spelling).strip() or str(spelling)[:20] not in str(raised.value)


@given(st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2100, 1, 1), timezones=zones))
def test_iso_with_any_zone(moment: dt.datetime) -> None:
    wanted = math.floor(moment.timestamp() * 1000)
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60 == 0:
        for spelling in (moment.isoformat(), moment.isoformat(" "), moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")):
            assert abs(to_milliseconds(spelling) - wanted) <= 1


@given(st.integers(100_000_001, 4_000_000_000))
def test_seconds_and_milliseconds_agree(seconds: int) -> None:
    spellings: list[float | str] = [seconds, float(seconds), seconds * 1000, str(seconds), str(seconds * 1000), f"{seconds}.0"]
    assert {to_milliseconds(spelling) for spelling in spellings} == {seconds * 1000}


@given(st.floats() | st.integers() | st.text(max_size=30) | st.text("0123456789-:TZ+. ", max_size=30))
def test_anything_is_a_time_or_a_record_error(value: float | str) -> None:
    try:
        assert isinstance(to_milliseconds(value), int)
    except RecordError as error:
        assert error.reason is Reason.BAD_TIME


@given(st.integers(-(10**13), 10**13), st.sampled_from([1000, 60_000, 3_600_000, 86_400_000]))
def test_buckets(moment: int, bucket: int) -> None:
    floored = floor_to(moment, bucket)
    assert floored % bucket == 0
    assert 0 <= moment - floored < bucket
    assert floor_to(floored, bucket) == floored


def test_window() -> None:
    check_window(1000 + 300, 1000, 300, 500)
    check_window(1000 - 500, 1000, 300, 500)
    with pytest.raises(RecordError) as ahead:
        check_window(1301, 1000, 300, 500)
    assert ahead.value.reason is Reason.TIME_IN_FUTURE
    with pytest.raises(RecordError) as behind:
        check_window(499, 1000, 300, 500)
    assert behind.value.reason is Reason.TIME_TOO_OLD
