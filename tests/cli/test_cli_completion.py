"""The scripts of `veilstream completion`, in the shells that they are for."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.app import STAGES
from streams.cli.main import _COMMANDS, run
from streams.errors import Reason
from streams.sources.loading import load_mappings
from streams.topics import BY_NAME
from tests.support import ROOT

BASH = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_veilstream_completion veilstream
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """
autoload -Uz compinit; compinit -u -d {folder}/dump
# In place of what only an open line editor has: they print what they are given.
_describe() {{ print -rl -- "${{(@)${{(@P)3}}%%:*}}"; }}
compadd() {{ print -rl -- "${{(@P)argv[-1]}}"; }}
source {script}
words=({words}); CURRENT=${{#words}}
_veilstream_completion
"""
KNOWN = load_mappings(None)
PRESETS = {*KNOWN.events, *KNOWN.items}
CASES = [
    ("", set(_COMMANDS)),
    ("wor", {"worker"}),
    ("--de", {"--debug"}),
    ("worker --stage ", {*STAGES, "all"}),
    ("worker --stage p", {"profile"}),
    ("worker --c", {"--console"}),
    ("doctor --stage tr", {"trainer"}),
    ("topics ", {"create", "check", "strimzi"}),
    ("watch items.", {name for name in BY_NAME if name.startswith("items.")}),
    ("sources show shopify-p", {name for name in PRESETS if name.startswith("shopify-p")}),
    ("recover --reason bad_t", {reason.value for reason in Reason if reason.value.startswith("bad_t")}),
    ("keys generate --only mod", {"models"}),
    ("completion ", {"bash", "zsh", "fish"}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a `veilstream` that is this one."""
    program = tmp_path / "veilstream"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m streams.cli.main "$@"\n')
    program.chmod(0o755)
    return tmp_path


def answers(shell: str, template: str, line: str, folder: Path) -> set[str]:
    """What a shell offers for a line, whose last word is being typed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    script = folder / "script"
    script.write_bytes(subprocess.run([folder / "veilstream", "completion", shell], check=True, capture_output=True).stdout)
    words = " ".join(shlex.quote(word) for word in ["veilstream", *line.split(" ")])
    code = template.format(script=shlex.quote(str(script)), words=words, folder=folder, line=shlex.quote(f"veilstream {line}"))
    done = subprocess.run([shell, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return {found.split("\t")[0] for found in done.stdout.splitlines() if found}


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash(folder: Path, line: str, expected: set[str]) -> None:
    assert answers("bash", BASH, line, folder) == expected


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_zsh(folder: Path, line: str, expected: set[str]) -> None:
    assert answers("zsh", ZSH, line, folder) == expected


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish(folder: Path, line: str, expected: set[str]) -> None:
    assert answers("fish", "source {script}; complete -C {line}", line, folder) >= expected


def test_bash_takes_the_function_for_the_command(folder: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = folder / "script"
    script.write_bytes(subprocess.run([folder / "veilstream", "completion", "bash"], check=True, capture_output=True).stdout)
    done = subprocess.run(["bash", "-c", f"source {script}; complete -p veilstream"], capture_output=True, text=True, check=True)
    assert "-F _veilstream_completion veilstream" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_whether_the_shell_is_here_or_not(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["completion", shell]) == 0
    captured = capsys.readouterr()
    assert f"_VEILSTREAM_COMPLETE={shell}_complete" in captured.out and captured.err == ""


def test_an_answer_comes_at_once(folder: Path) -> None:
    """The list of commands imports none of them."""
    environment = {**os.environ, "_VEILSTREAM_COMPLETE": "bash_complete", "COMP_WORDS": "veilstream ", "COMP_CWORD": "1"}
    begin = time.monotonic()
    done = subprocess.run([folder / "veilstream"], env=environment, capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 2 and "plain,worker" in done.stdout.splitlines()
