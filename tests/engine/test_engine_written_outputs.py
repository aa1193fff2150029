"""An output that was found written is left out once, and no other ever."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import written_outputs as module
from streams.engine.records import OutputRecord
from streams.engine.written_outputs import WrittenOutputs

ids = st.lists(st.integers(0, 9), unique=True)


def output(number: int, unless: int | None = None) -> OutputRecord:
    return OutputRecord("out", None, b"", bytes([number]), unless=None if unless is None else ("out", bytes([unless])))


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(found=ids, caused=ids)
def test_what_is_written_is_missing_once(found: list[int], caused: list[int]) -> None:
    written = WrittenOutputs()
    written.add([("out", bytes([number])) for number in found])
    outputs = [output(number) for number in caused]
    assert [o.record_id[0] for o in written.missing(outputs)] == [number for number in caused if number not in found]
    written.on_caused(outputs)
    assert list(written.missing(outputs)) == outputs
    assert written.awaits_any == bool(set(found) - set(caused))


def test_an_output_that_another_stands_for_is_not_wanted() -> None:
    written = WrittenOutputs()
    written.add([("out", b"\1")])
    assert written.missing([output(2, unless=1)]) == []
    assert written.missing([output(2, unless=3)]) == [output(2, unless=3)]


def test_what_no_record_caused_is_remembered_for_the_timer_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MOST", 1)
    written = WrittenOutputs()
    for number in (1, 2):
        written.add([("out", bytes([number]))])
        written.await_no_more()
        assert not written.awaits_any
    assert written.missing([output(1), output(2)]) == [output(2)]


def test_another_take_over_looks_again_and_keeps_what_it_remembers() -> None:
    written = WrittenOutputs()
    written.add([("out", b"\1")])
    written.await_no_more()
    written.add([("out", b"\2")])
    written.look_again()
    assert written.missing([output(1), output(2)]) == [output(2)]
