"""Robots by name and by pace; people, large invoices and telephones called Cubot pass."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest import throttle as module
from streams.stages.ingest.throttle import Throttle, is_automated_agent

MINUTE = 60_000


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Examplebot/2.1; +http://example.com/bot.html)",
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/126.0",
        "python-requests/2.32",
        "curl/8.5.0",
        "Scrapy/2.11 (+https://scrapy.org)",
        "Java/17.0.2",
        "Go-http-client/2.0",
    ],
)
def test_robots(agent: str) -> None:
    assert is_automated_agent(agent)


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
        "MicroMessenger/8.0.49 NetType/WIFI Language/zh_CN",
        "okhttp/4.12.0",
    ],
)
def test_people(agent: str) -> None:
    assert not is_automated_agent(agent)


def test_the_bound_is_per_user_partition_and_minute() -> None:
    throttle = Throttle(3)
    assert [throttle.allows("a", 0, 0, offset) for offset in range(5)] == [True, True, True, False, False]
    assert throttle.allows("b", 0, 0, 5)
    assert throttle.allows("a", MINUTE, 0, 6)
    assert throttle.allows("a", 0, 1, 0)
    assert not throttle.allows("a", MINUTE - 1, 0, 7)


def test_a_large_invoice_passes() -> None:
    throttle = Throttle(600)
    assert all(throttle.allows("a", 12 * MINUTE, 0, offset) for offset in range(600))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=60),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_handing_records_over_again_changes_no_answer(events: list[tuple[str, int]], rewinds: list[int]) -> None:
    """However often, and however cut, batches come again: every record gets the answer that it gets when all goes well."""
    plain = Throttle(3)
    wanted = [plain.allows(user, minute * MINUTE, 0, offset) for offset, (user, minute) in enumerate(events)]
    throttle = Throttle(3)
    done = 0
    for rewind in [*rewinds, 0]:
        stop = min(len(events), max(done, rewind))
        for offset in range(max(0, done - rewind), stop):
            assert throttle.allows(events[offset][0], events[offset][1] * MINUTE, 0, offset) is wanted[offset]
        done = max(done, stop)
    for offset in range(len(events)):
        assert throttle.allows(events[offset][0], events[offset][1] * MINUTE, 0, offset) is wanted[offset]


def test_old_minutes_are_counted_too() -> None:
    throttle = Throttle(2)
    for minute in range(10):
        throttle.allows("a", minute * MINUTE, 0, minute)
    assert [throttle.allows("a", 0, 0, 10 + offset) for offset in range(3)] == [True, False, False]


def test_memory_is_bounded_and_keeps_who_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MINUTES_KEPT", 100)
    throttle = Throttle(50)
    answers = []
    for offset in range(0, 2000, 2):
        answers.append(throttle.allows("robot", 0, 0, offset))
        throttle.allows(f"person-{offset}", 0, 0, offset + 1)
    assert answers.count(True) == 50
    assert len(throttle._minutes) <= 100
