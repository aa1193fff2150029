"""Every alert fires when it should, and clears: by Prometheus' own unit tests of rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support import ROOT

MONITORING = ROOT / "k8s" / "base" / "monitoring"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
STAGES = ("ingest", "catalogue", "profile", "feedback", "learning")


class Case(NamedTuple):
    """``series``: values a minute, in promtool's notation. The alert fires by the one minute, and has cleared by the other."""

    series: dict[str, str]
    fires_m: int
    clear_m: int


def burning(hours: int) -> dict[str, str]:
    """Of 100 records a minute half take over a second for some hours; then none does."""
    minutes, calm = 60 * hours, 60 * 8
    return {
        'veilstream_record_seconds_bucket{stage="profile",le="1.0"}': f"0+50x{minutes} {50 * minutes}+100x{calm}",
        'veilstream_record_seconds_count{stage="profile"}': f"0+100x{minutes} {100 * minutes}+100x{calm}",
    }


def counting(name: str, each_m: int, minutes: int, still_m: int) -> dict[str, str]:
    """A counter that grows for a while, and then stands still."""
    return {name: f"0+{each_m}x{minutes} {each_m * minutes}x{still_m}"}


def ready(value: str, without: str = "") -> dict[str, str]:
    return {f'veilstream_ready{{stage="{stage}"}}': value for stage in STAGES if stage != without}


CASES: dict[str, Case] = {
    "VeilstreamBehind": Case({'veilstream_behind_seconds{stage="profile"}': "1000x20 5x20"}, 15, 30),
    "VeilstreamRetrying": Case({'veilstream_retrying_seconds{stage="profile"}': "130+60x10 0x20"}, 5, 20),
    "VeilstreamLostToRetention": Case({'veilstream_lost_to_retention_total{stage="ingest",topic="behaviour.raw"}': "0x5 40x60"}, 8, 50),
    "VeilstreamBusyNotOwned": Case({'veilstream_partitions_busy_not_owned{stage="profile"}': "1x10 0x10"}, 8, 15),
    "VeilstreamReadModelOld": Case({'veilstream_follower_age_seconds{stage="profile",topic="models"}': "400x10 1x10"}, 8, 15),
    "VeilstreamStageAway": Case(ready("1x60", "learning") | {'veilstream_ready{stage="learning"}': "0x20 1x40"}, 18, 30),
    "VeilstreamNoEvents": Case({'veilstream_records_total{stage="ingest"}': "0x60 0+10x60"}, 55, 100),
    "VeilstreamFallingBehind": Case({'veilstream_lag_records{stage="ingest"}': "0+500x60 30000-500x60"}, 40, 90),
    "VeilstreamLatencyBudgetBurnsFast": Case(burning(2), 100, 240),
    "VeilstreamLatencyBudgetBurns": Case(burning(8), 470, 560),
    "VeilstreamRecoveryStuck": Case({'veilstream_recovery_records_left{stage="profile"}': "5000x40 0x40"}, 25, 50),
    "VeilstreamRebalancesOften": Case(counting('veilstream_rebalances_total{stage="profile"}', 5, 30, 40), 25, 60),
    "VeilstreamManyDeadLetters": Case(
        {
            'veilstream_records_rejected_total{stage="ingest"}': "0+10x60 600x60",
            'veilstream_records_total{stage="ingest"}': "0+100x120",
        },
        *(40, 90),
    ),
    "VeilstreamProducerQuarantined": Case({"veilstream_producers_quarantined": "1x30 0x30"}, 20, 45),
    "VeilstreamModelRefused": Case({'veilstream_models_refused_total{stage="profile",reason="signature"}': "0x5 1x120"}, 10, 90),
    "VeilstreamSourceRefused": Case(
        {
            'veilstream_source_refused_total{source="segment",reason="bad_time"}': "0+10x60 600x60",
            'veilstream_source_events_total{source="segment"}': "0+100x120",
        },
        *(40, 90),
    ),
    "VeilstreamNothingRecommended": Case(
        {
            'veilstream_recommendations_total{policy="behaviour",model_version="v1",profiled="true"}': "7x70 7+10x60",
            'veilstream_records_total{stage="profile"}': "0+100x130",
        },
        *(60, 110),
    ),
    "VeilstreamRoundsFail": Case({'veilstream_trainer_rounds_total{state="failed"}': "0x10 1x10 3x1600"}, 30, 1600),
    "VeilstreamScoresDrift": Case({"veilstream_training_score_stability": "0.3x90 0.05x30"}, 80, 100),
    "VeilstreamErasureLate": Case({"veilstream_erasure_oldest_seconds": "90000x10 0x10"}, 5, 15),
    "VeilstreamErasuresUnwatched": Case({"veilstream_erasure_oldest_seconds": "_x90 0x30"}, 80, 110),
}


def rules() -> list[dict[str, Any]]:
    spec = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]
    return [rule for group in spec["groups"] for rule in group["rules"]]


def test_every_alert_has_a_case_a_text_and_a_runbook() -> None:
    names = [rule["alert"] for rule in rules()]
    assert sorted(names) == sorted(CASES) and len(names) == len(set(names))
    headings = {line[3:].strip().lower() for line in RUNBOOKS.read_text().splitlines() if line.startswith("## ")}
    for rule in rules():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert notes["summary"] and notes["description"]
        assert notes["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}" and rule["alert"].lower() in headings


def test_alerts_ask_for_metrics_that_exist() -> None:
    from streams.wiring.metrics_list import metric_entries

    known = set()
    for entry in metric_entries():
        known |= {entry.name, *(f"{entry.name}_{part}" for part in ("bucket", "count", "sum") if entry.kind == "histogram")}
    for rule in rules():
        asked = set(re.findall(r"\bveilstream_\w+", rule["expr"]))
        assert asked and asked <= known, (rule["alert"], asked - known)


@pytest.mark.slow
def test_every_alert_fires_and_clears(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "promtool is missing; .ci/run installs Debian's package `prometheus`"
        pytest.skip("promtool is missing (Debian: apt-get install prometheus)")
    spec = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    tests = []
    for name, case in CASES.items():
        expr = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
        fires = {"expr": expr, "eval_time": f"{case.fires_m}m", "exp_samples": [{"labels": "{}", "value": 1}]}
        clears = {"expr": expr, "eval_time": f"{case.clear_m}m", "exp_samples": []}
        series = [{"series": one, "values": values} for one, values in case.series.items()]
        tests.append({"name": name, "interval": "1m", "input_series": series, "promql_expr_test": [fires, clears]})
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
