"""``veilstream console`` says what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.cli.main import run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEILSTREAM_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (["--worker", "nonsense"], {}, "--worker must be HOST:PORT"),
        ([], {"VEILSTREAM_CONSOLE_WORKERS": "http://x:1"}, "VEILSTREAM_CONSOLE_WORKERS must be HOST:PORT"),
        (["--host", "0.0.0.0"], {}, "VEILSTREAM_CONSOLE_TOKEN_FILE"),
        ([], {"VEILSTREAM_CONSOLE_TOKEN_FILE": "none"}, "token file none can't be read"),
        ([], {"VEILSTREAM_CONSOLE_PORT": "many"}, "VEILSTREAM_CONSOLE_PORT"),
    ],
)
def test_what_is_wrong_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], settings: dict[str, str], told: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert run(["console", *arguments]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_its_help_is_quick_and_names_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["console", "--help"]) == 0
    assert "docs/console.md" in capsys.readouterr().out
