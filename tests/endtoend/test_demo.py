"""The demo ends by itself, with nothing lost, nothing doubled, and a summary that says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


def test_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "streams.cli.main",
            "demo",
            "--seconds",
            "15",
            "--shoppers",
            "150",
            "--items",
            "600",
            "--out",
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["lost"] == 0
    assert summary["duplicated"] == 0
    assert summary["events_in"] >= summary["events_clean"] + sum(summary["dead_letters"].values()) > 500
    assert len(summary["dead_letters"]) >= 5
    assert summary["recommendations"] > 100
    assert sum(summary["feedback"].values()) >= summary["recommendations"]
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert summary["treated_rate"] > summary["control_rate"]
    assert sum(rates["treated_sessions"] for rates in summary["by_language"].values()) == summary["treated_sessions"]
