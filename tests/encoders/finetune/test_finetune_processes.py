"""Trainings that are killed, and trainings of two processes, against undisturbed ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support import ROOT
from tests.support.tiny_bert import tiny_bert

ALONE = ("-m", "tests.support.finetune_process")
TWO = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone", *ALONE)


def run(how: tuple[str, ...], *arguments: object, code: int = 0) -> dict[str, Any]:
    command = [sys.executable, *how, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == code, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    reports: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return reports


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_killed_and_resumed_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    base = tiny_bert(tmp_path / "base")
    undisturbed = run(ALONE, base, tmp_path / "a", "-", 16, 20, 0)
    run(ALONE, base, tmp_path / "b", tmp_path / "c", 16, 20, 13, code=-signal.SIGKILL)
    assert not (tmp_path / "b").exists()
    newest = sorted((tmp_path / "c").glob("step-*"))[-1]
    assert newest.name == "step-00000010"
    (newest / "tensors.safetensors").write_bytes((newest / "tensors.safetensors").read_bytes()[:-7])
    resumed = run(ALONE, base, tmp_path / "b", tmp_path / "c", 16, 20, 0)
    assert resumed["resumed_from"] == 5
    assert len(resumed["refused"]) == 1
    assert resumed["losses"] == undisturbed["losses"]
    expected, found = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert not list((tmp_path / "c").glob("step-*")), "removed at the end"


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path: Path) -> None:
    base = tiny_bert(tmp_path / "base")
    one = run(ALONE, base, tmp_path / "one", "-", 32, 20, 0)
    two = run(TWO, base, tmp_path / "two", "-", 16, 20, 0)
    assert len(one["losses"]) == 20
    assert one["losses"][-1] < one["losses"][0]
    assert np.allclose(one["losses"], two["losses"], rtol=1e-3, atol=1e-4)
    expected, found = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(np.allclose(expected[name], found[name], atol=2e-3) for name in expected)
