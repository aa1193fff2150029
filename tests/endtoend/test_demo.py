"""The demo ends by itself, with nothing lost, nothing doubled, and a summary that says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encoders.folder import locate
from streams.models.registry.ranker_file import write_ranker
from streams.ranking.learned.related import RelatedItems
from streams.ranking.together_table import Neighbours
from tests.support.learned_shop import additive_ranker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]


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
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["lost"] == 0
    assert summary["duplicated"] == 0
    assert summary["events_in"] >= summary["events_clean"] + sum(summary["dead_letters"].values()) > 500
    assert len(summary["dead_letters"]) >= 5
    assert 0 < summary["unprofiled"] < summary["recommendations"] / 3 and summary["held_back"] > 0
    assert summary["recommendations"] > 100
    assert sum(summary["feedback"].values()) >= summary["recommendations"]
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert summary["treated_rate"] > summary["control_rate"]
    assert sum(rates["treated_sessions"] for rates in summary["by_language"].values()) == summary["treated_sessions"]


def test_every_logged_feature_of_a_demo_with_a_ranker_agrees(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(locate("bundled-en"), folder)
    names = [f"{language}{number:05d}" for number in range(600) for language in "CE"]
    rng = np.random.default_rng(1)
    others = rng.integers(0, len(names), 8 * len(names))
    neighbours = Neighbours(np.arange(0, len(others) + 1, 8), others, rng.normal(0.1, 0.2, len(others)).astype(np.float32))
    write_ranker(folder, additive_ranker(1, RelatedItems(names, neighbours)))
    # With bf16, which a busy machine may choose, a query's vector depends on what is encoded beside it: by .0015, more than is allowed.
    environment = {
        "VEILSTREAM_MODEL": str(folder),
        "VEILSTREAM_PRECISION": "fp32",
        "VEILSTREAM_THRESHOLD": "-50",
        "VEILSTREAM_FEATURE_LOG_SHARE": "0.2",
    }
    size = ["--seconds", "15", "--shoppers", "150", "--items", "600"]
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "demo", *size, "--out", str(tmp_path / "out")],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    features = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["features"]
    assert features["logs"] > 50
    assert features["agree"] == features["logs"], features
