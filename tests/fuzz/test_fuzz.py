"""Readers of foreign bytes: what broke them once, and twenty thousand inputs that a fuzzer makes up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CASES = sorted(path for path in Path(__file__).with_name("cases").glob("*/*") if path.is_file())
SECONDS = 0.01


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_what_broke_once(case: Path) -> None:
    read, data = TARGETS[case.parent.name].read, case.read_bytes()
    read(data)
    taken = []
    for _ in range(5):
        begun = time.process_time()
        read(data)
        taken.append(time.process_time() - begun)
    assert min(taken) < SECONDS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(name: str) -> None:
    for data in TARGETS[name].seeds():
        TARGETS[name].read(data)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="the fuzzer has wheels for Linux only")
def test_twenty_thousand_inputs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "20000", "--seed", "20261130", "--folder", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="the fuzzer has wheels for Linux only")
def test_a_fault_is_found_and_kept(tmp_path: Path) -> None:
    """A reader that breaks at an input which only a few steps lead to."""
    program = tmp_path / "broken.py"
    program.write_text(
        "import sys\n"
        "import tests.fuzz.targets as targets\n"
        "def read(data):\n"
        "    if data[:1] == b'q': raise KeyError('found')\n"
        "targets.TARGETS['texts'] = targets.Target(read, lambda: [b'abc'])\n"
        "from tests.fuzz.__main__ import main\n"
        f"sys.argv[1:] = ['--inputs', '200000', '--seed', '1', '--target', 'texts', '--folder', {str(tmp_path)!r}]\n"
        "sys.exit(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, cwd=Path.cwd(), env={"PYTHONPATH": "."}
    )
    assert ran.returncode == 1 and "texts: BROKEN: KeyError" in ran.stdout
    assert [path for path in (tmp_path / "texts").iterdir() if path.name.startswith("crash-") and path.read_bytes()[:1] == b"q"]
