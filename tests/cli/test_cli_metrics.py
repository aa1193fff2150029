"""The list of metrics, and its page."""

from __future__ import annotations

import json
import re

import pytest

from streams.cli.main import run
from tests.support import ROOT


@pytest.fixture(scope="module")
def entries() -> list[dict[str, object]]:
    from streams.wiring.metrics_list import metric_entries

    return [entry._asdict() for entry in metric_entries()]


def test_the_page_is_what_the_code_declares(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert shown == (ROOT / "docs" / "metrics.md").read_text(), "write it anew: .venv/bin/veilstream metrics --markdown > docs/metrics.md"


def test_the_list_is_for_machines_too(capsys: pytest.CaptureFixture[str], entries: list[dict[str, object]]) -> None:
    assert run(["metrics", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == [one["name"] for one in entries]
    assert run(["metrics"]) == 0
    assert "veilstream_latency_seconds{stage,topic}\n    histogram, all stages: " in capsys.readouterr().out


def test_names_follow_the_conventions(entries: list[dict[str, object]]) -> None:
    names = {str(one["name"]): one for one in entries}
    assert len(names) > 80
    for name, one in names.items():
        assert re.fullmatch(r"veilstream_[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (one["kind"] == "counter"), name
        assert str(one["text"]).endswith("."), name
        assert not {"user", "shopper", "item", "pseudonym", "event", "session"}.intersection(one["labels"]), name  # type: ignore[arg-type]
        assert one["processes"]
