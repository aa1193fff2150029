"""What ``veilstream features check`` says, and its exit code."""

from __future__ import annotations

import json

import pytest

from streams.cli.features import tell
from streams.stages.profile.rebuild import Checked

AGREES = Checked("a" * 32, "agrees", 1.0)
DIFFERS = Checked("b" * 32, "differs", 0.0, ("trend", "seen"))
UNTOLD = Checked("c" * 32, "untold", 0.0, ("another table of features",))


@pytest.mark.parametrize(
    ("checked", "unreadable", "code"),
    [([AGREES], 0, 0), ([AGREES, UNTOLD], 0, 0), ([AGREES, DIFFERS], 0, 1), ([UNTOLD], 0, 1), ([], 0, 1), ([AGREES], 1, 1)],
)
def test_the_exit_code_says_whether_all_that_could_be_compared_agrees(checked: list[Checked], unreadable: int, code: int) -> None:
    assert tell(checked, unreadable) == code


def test_what_differs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    tell([AGREES, DIFFERS, UNTOLD])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 logs: 1 agree, 1 differ, 1 can't be told"
    assert "  differs: trend (1 logs)" in lines and "  untold: another table of features (1 logs)" in lines
    assert lines[-1] == f"  log {'b' * 32}: trend, seen"


def test_as_json_it_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([AGREES, DIFFERS, UNTOLD], 2, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in ("logs", "agrees", "differs", "untold", "unreadable")} == {
        **dict.fromkeys(("agrees", "differs", "untold"), 1),
        "logs": 3,
        "unreadable": 2,
    }
    assert found["not_agreeing"][0] == {"log": "b" * 32, "outcome": "differs", "different": ["trend", "seen"]}
