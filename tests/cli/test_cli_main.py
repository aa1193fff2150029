"""Exit codes, one line of error, nothing heavy before a command runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from streams.cli import main
from streams.cli.main import describe, run
from streams.errors import ConfigurationError

COMMAND = [sys.executable, "-m", "streams.cli.main"]
HEAVY = ("pydantic", "faust", "torch", "transformers", "numpy", "aiokafka", "rich", "fastavro")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command that raises what it is told to."""

    def install(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr(main._LazyGroup, "get_command", lambda *_: command)

    return install


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from streams.cli.main import run; assert run(['--help']) == 0; "
        f"found = [m for m in {HEAVY!r} if m in sys.modules]; assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("worker", "topics", "keys", "settings", "replay", "watch", "recover", "models", "broker"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize(
    "name", ["worker", "topics", "keys", "settings", "replay", "watch", "recover", "models", "trainer", "backtest", "broker", "demo"]
)
def test_every_command_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: veilstream {name}" in capsys.readouterr().out


def test_a_command_whose_file_is_missing_is_not_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(main._COMMANDS, "absent", "Not here.")
    assert run(["--help"]) == 0
    assert "absent" not in capsys.readouterr().out
    assert run(["absent"]) == 2


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["--nosuch"], ["replay"], ["watch"], ["replay", "--rate", "0"], ["keys", "generate", "x"]]
)
def test_wrong_use_is_one_line_and_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "--help`" in error


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(["forget", "u1", "--wait"], "forget"), (["keys", "use"], "keys use"), (["models", "list", "--nope"], "models list"), (["nope"], "")],
)
def test_wrong_use_names_the_help_of_its_command(arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.rstrip().endswith(f"see `{f'veilstream {command}'.strip()} --help`")


def test_an_error_of_the_product_is_one_line_and_1(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ConfigurationError("this is\n  wrong; do that"))
    assert run(["x"]) == 1
    assert capsys.readouterr().err == "error: this is wrong; do that\n"


def test_debug_shows_the_traceback(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ConfigurationError("wrong"))
    assert run(["--debug", "x"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_tells_its_place_and_no_value(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyError("alice@example.org"))
    assert run(["x"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: unexpected KeyError at test_cli_main.py:") and "--debug" in error
    assert "alice" not in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "var/keys"), "var/keys: Permission denied"),
        (TopicAuthorizationFailedError("t"), "the broker refused"),
    ],
)
def test_errors_of_others(error: Exception, words: str) -> None:
    assert words in describe(error)


def test_an_interrupt_is_130_without_a_word(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert run(["x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_answer_of_a_command_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    command = click.Command("x", callback=lambda: 1)
    monkeypatch.setattr(main._LazyGroup, "get_command", lambda *_: command)
    assert run(["x"]) == 1


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*COMMAND, "settings", "--json"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.returncode != 0 and "Traceback" not in done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert "veilstream" in capsys.readouterr().out


def test_keys_are_made_and_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "generate", "--dir", str(tmp_path / "keys")]) == 0
    output = capsys.readouterr().out
    secret = (tmp_path / "keys" / "pseudonym.key").read_text().splitlines()[1]
    assert "pseudonym.key" in output and secret not in output
    assert (tmp_path / "keys" / "recovery.key").stat().st_mode & 0o777 == 0o600
    assert run(["keys", "generate", "--dir", str(tmp_path / "keys")]) == 1
    assert (tmp_path / "keys" / "pseudonym.key").read_text().splitlines()[1] == secret
    assert run(["keys", "generate", "--dir", str(tmp_path / "keys"), "--key-id", "a.b"]) == 2
