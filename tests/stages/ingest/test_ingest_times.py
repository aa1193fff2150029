"""Times in every spelling that producers use, and none that only looks like one."""

from __future__ import annotations

import datetime as dt
import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.stages import times as module
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
        "1323434999000000",
        "1323434999000000000",
        "2011/12/09 12:49:59",
        "2011.12.09 12:49:59",
        "2011-12-9 12:49:59",
        "2011-12-09T12:49:59 UTC",
        "2011-12-09 12:49:59 UTC",
        "2011-12-09 12:49:59.000000 UTC",
        "2011-12-09T20:49:59+08:00[Asia/Shanghai]",
        "2011年12月9日 12:49:59",
        "2011年12月09日12:49:59",
        "Fri, 09 Dec 2011 12:49:59 GMT",
        "Fri, 9 Dec 2011 20:49:59 +0800",
        "Fri Dec 09 2011 20:49:59 GMT+0800 (China Standard Time)",
        "9-Dec-2011 12:49:59",
        "December 9, 2011 12:49:59",
        1_323_434_999_000_000,
        1_323_434_999_000_000_000,
        1_323_434_999_000_000.0,
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
        ("2026/11/27 05:00:00", 1_795_755_600_000),
        ("27/11/2026 05:00", 1_795_755_600_000),
        ("27.11.2026 5:00", 1_795_755_600_000),
        ("11/27/2026 05:00", 1_795_755_600_000),
        ("Fri, 27 Nov 2026 05:00:00 GMT", 1_795_755_600_000),
        ("2026-11-27T05:00:00 UTC", 1_795_755_600_000),
        ("2026年11月27日", 1_795_737_600_000),
        ("11/27/2026 5:00 PM", 1_795_798_800_000),
        ("27 Nov 2026 12:00 am", 1_795_737_600_000),
        ("Nov 27, 2026 12:30:00PM", 1_795_782_600_000),
        ("2026年11月27日5时00分", 1_795_755_600_000),
        ("2026年11月27日 05時00分00秒", 1_795_755_600_000),
        ("5/5/2026", 1_777_939_200_000),
        (99_999_999_999_999, 99_999_999_999_999),
        (100_000_000_000_000, 100_000_000_000),
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
        "2011-12-09T12:49:59Z\x00", "5/11/2026 05:00", "05.11.2026", "2011-12-09 12:49:59 CST", "2011-12-09 12:49:59 EST", "27 Decade 2026",
        "12/9/11", "31/02/2026", "13/13/2026", "2011年13月09日", "2011-12-09 下午2:49", "32 Dec 2011", "9 Dec 2011 13:00 PM",
        "9 Dec 2011 0:30 am",
        "1" * 20, "9" * 100_000, "2011-12-09T12:49:59." + "0" * 100_000, "\u200f2011-12-09",
        math.nan, math.inf, -math.inf, True, False,
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_no_times(spelling: float | str) -> None:
    with pytest.raises(RecordError) as raised:
        to_milliseconds(spelling)
    assert raised.value.reason is Reason.BAD_TIME
    assert not str(spelling).strip() or str(spelling)[:20] not in str(raised.value)


@pytest.mark.parametrize("spelling", ["5/11/2026 05:00", "05.11.2026", "12/1/2010 8:26", "2011-12-09 12:49:59 CST", "9 Dec 2011 12:49 EST"])
def test_what_could_be_two_moments_is_said_to(spelling: str) -> None:
    with pytest.raises(RecordError, match="ambiguous"):
        to_milliseconds(spelling)


@given(
    st.dates(dt.date(1971, 1, 1), dt.date(2100, 1, 1)),
    st.times(),
    st.sampled_from(["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y", "%m-%d-%Y"]),
)
def test_a_day_is_never_taken_for_a_month(day: dt.date, time: dt.time, spelling: str) -> None:
    moment = dt.datetime.combine(day, time, dt.UTC)
    text = moment.strftime(spelling)
    try:
        found = to_milliseconds(text)
    except RecordError:
        assert day.day <= 12 and day.day != day.month
    else:
        assert found == dt.datetime.strptime(text, spelling).replace(tzinfo=dt.UTC).timestamp() * 1000


@given(st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2100, 1, 1), timezones=zones))
def test_iso_with_any_zone(moment: dt.datetime) -> None:
    wanted = math.floor(moment.timestamp() * 1000)
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60 == 0:
        for spelling in (moment.isoformat(), moment.isoformat(" "), moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")):
            assert abs(to_milliseconds(spelling) - wanted) <= 1


@given(st.integers(100_000_001, 4_000_000_000), st.sampled_from([10**6, 10**9]), st.integers(0, 999_999))
def test_magnitude_tells_the_unit(seconds: int, unit: int, rest: int) -> None:
    value = seconds * unit + rest * unit // 10**6
    assert to_milliseconds(value) == to_milliseconds(str(value)) == seconds * 1000 + rest // 1000


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
