"""What a command leaves to other users of the machine."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.slow
def test_what_a_command_writes_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item,title\nA,red shoes\nB,blue shoes\n")
    (tmp_path / "events.csv").write_text("ts,user,event_type,item\n2026-01-01T10:00:00,u1,purchase,A\n")
    command = ["backtest", "--items", "items.csv", "--events", "events.csv", "--cutoff", "2026-02-01", "--out", "out.csv", "--no-fit"]
    environment = {"VEILSTREAM_MODEL": "hashing", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *command],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert mode(tmp_path / "out.csv") == 0o600


def test_no_process_dumps_its_memory() -> None:
    program = "import resource; from streams.cli.hardening import harden; harden(); print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0)\n"
