"""What every benchmark needs: the machine, interleaved runs, medians, results that keep every run."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("faust-streaming", "aiokafka", "fastavro", "rocksdict", "torch", "transformers", "numpy")


def machine() -> dict[str, Any]:
    """Processor, cores and versions."""
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor())
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def interleave(candidates: Mapping[str, Callable[[int], float]], runs: int) -> dict[str, list[float]]:
    """Each candidate once a round, so that a change of the machine's speed hits all; what each call returned."""
    measured: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(runs):
        for name, measure in candidates.items():
            value = measure(number)
            measured[name].append(value)
            print(f"run {number + 1}/{runs} {name}: {value:,.0f}", flush=True)
    return measured


def ratio(measured: Mapping[str, list[float]], ours: str, theirs: str) -> dict[str, float]:
    """Medians, and the median of the ratios run by run."""
    pairs = [a / b for a, b in zip(measured[ours], measured[theirs], strict=True)]
    return {
        f"{ours}_median": statistics.median(measured[ours]),
        f"{theirs}_median": statistics.median(measured[theirs]),
        "ratio_median": statistics.median(pairs),
        "ratio_min": min(pairs),
        "ratio_max": max(pairs),
    }


def save(name: str, result: Mapping[str, Any]) -> Path:
    """Write ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=2) + "\n", encoding="utf-8")
    return path


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
