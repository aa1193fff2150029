"""How records look as lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.cli.watch import line, moment
from streams.visible_text import visible


def test_a_record_is_a_readable_line() -> None:
    value = {"item_id": "i", "sealed_id": b"x" * 112, "vector": b"y" * 8, "score": 0.123456, "query": None, "items": [{"title": "灯"}]}
    assert line(1_700_000_000_123, 2, 5, value, as_json=False) == (
        '2023-11-14T22:13:20.123Z 2/5 item_id="i" sealed_id="<sealed 112 bytes>" vector="<8 bytes>" score=0.1235 items=[{"title": "灯"}]'
    )


def test_a_tombstone() -> None:
    assert line(0, 0, 0, None, as_json=False) == "1970-01-01T00:00:00.000Z 0/0 removed"
    assert json.loads(line(0, 0, 0, None, as_json=True))["value"] is None


@pytest.mark.parametrize("timestamp", [-1, 0, 2**62, -(2**62)])
def test_timestamps_of_any_kind(timestamp: int) -> None:
    assert moment(timestamp)


@given(st.text() | st.sampled_from(["\x1b[2J", "\x9b2J", "\u202egnp.exe", "\u2066x", "\r", "\x7f"]))
@pytest.mark.slow
def test_a_title_can_not_move_the_terminal(title: str) -> None:
    value: dict[str, Any] = {"title": title, "nested": {"title": [title]}}
    plain = line(0, 0, 0, value, as_json=False)
    assert all(character.isprintable() or character not in "\x1b\x9b\x7f\r\n\u202e\u2066" for character in plain)
    assert json.loads(line(0, 0, 0, value, as_json=True))["value"] == value


def test_what_is_visible_stays() -> None:
    assert visible("é 灯 🎁 \t") == "é 灯 🎁 \\u0009"
    assert visible("red\u200bshoes\ufeff") == "red\\u200bshoes\\ufeff"
    hidden = "".join(map(chr, (0xAD, 0x200D, 0x2060, 0xE0041)))
    assert json.loads(f'"{visible(hidden)}"') == hidden and visible(hidden).isascii()
