"""The dashboards are what the code says, ask for what exists, and explain themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytest.importorskip("grafana_foundation_sdk", reason="the dashboards are written with it (make setup for developers)")

from k8s.dashboards.__main__ import BOARDS, FOLDER, text_of
from k8s.dashboards.panels import Board, Panel, Query

ALL = [(board.uid, panel) for board in BOARDS for panel in board.panels]
UNITS = {"ops", "percentunit", "s", "short", "bytes"}


def filled(query: Query) -> str:
    """The query, as Grafana asks it where all is chosen."""
    return query.promql.replace("$namespace", ".*").replace("$stage", ".*").replace("$__rate_interval", "1m")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_file_is_what_the_code_says(board: Board) -> None:
    assert (FOLDER / f"{board.uid}.json").read_text() == text_of(board), "write it anew: make dashboards"


def test_every_file_is_a_dashboard_and_goes_into_the_config_map() -> None:
    names = sorted(f"dashboards/{board.uid}.json" for board in BOARDS)
    (map_,) = yaml.safe_load((FOLDER.parent / "kustomization.yaml").read_text())["configMapGenerator"]
    assert sorted(map_["files"]) == names == sorted(f"dashboards/{path.name}" for path in FOLDER.iterdir())


@pytest.mark.parametrize(("uid", "panel"), ALL, ids=[f"{uid}: {panel.title}" for uid, panel in ALL])
def test_a_panel_explains_itself(uid: str, panel: Panel) -> None:
    assert panel.title and panel.description.endswith(".") and panel.unit in UNITS and panel.queries
    built = json.loads((FOLDER / f"{uid}.json").read_text())["panels"]
    (found,) = [one for one in built if one["title"] == panel.title and one["type"] != "row"]
    assert found["description"] == panel.description and found["fieldConfig"]["defaults"]["unit"] == panel.unit
    assert [target["expr"] for target in found["targets"]] == [query.promql for query in panel.queries]
    assert all("$namespace" in target["expr"] for target in found["targets"]), "of the chosen namespace only"


def test_panels_ask_for_metrics_and_labels_that_exist() -> None:
    from streams.wiring.metrics_list import metric_entries

    labels: dict[str, set[str]] = {}
    for entry in metric_entries():
        for part in ("", *(("_bucket", "_count", "_sum") if entry.kind == "histogram" else ())):
            labels[entry.name + part] = {*entry.labels, "namespace", *(["le"] if part == "_bucket" else [])}
    for uid, panel in ALL:
        for query in panel.queries:
            for name, matchers in re.findall(r"(veilstream_\w+)\{([^}]*)\}", query.promql):
                assert set(re.findall(r"(\w+)=~?\"", matchers)) <= labels[name], (uid, panel.title, name)
            asked = set(re.findall(r"veilstream_\w+", query.promql))
            by = {label for one in re.findall(r"by \(([^)]*)\)", query.promql) for label in re.split(r",\s*", one)}
            assert by <= set().union(*(labels[name] for name in asked)), (uid, panel.title, by)


@pytest.mark.slow
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "promtool is missing; .ci/run installs Debian's package `prometheus`"
        pytest.skip("promtool is missing (Debian: apt-get install prometheus)")
    queries = [filled(query) for _, panel in ALL for query in panel.queries]
    rules = [{"record": f"q:{number}", "expr": expr} for number, expr in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", "queries.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
