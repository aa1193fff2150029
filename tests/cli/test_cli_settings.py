"""``veilstream settings`` lists everything, also when something is wrong."""

from __future__ import annotations

import doctest
import json
import os
from typing import Any

import pytest

from streams import settings
from streams.cli.main import run
from streams.settings import KafkaSettings, Settings, load_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("VEILSTREAM_", "KAFKA_")):
            monkeypatch.delenv(name)


def listed(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    captured = capsys.readouterr()
    return {row["variable"]: row for row in json.loads(captured.out)}, captured.err


def test_every_setting_is_listed_with_its_meaning(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_PARTITIONS", "7")
    assert run(["settings", "--json"]) == 0
    rows, error = listed(capsys)
    assert len(rows) == len(KafkaSettings.model_fields) + len(Settings.model_fields)
    assert all(row["meaning"] for row in rows.values())
    assert (rows["VEILSTREAM_PARTITIONS"]["value"], rows["VEILSTREAM_PARTITIONS"]["default"]) == ("7", "4")
    assert error == ""


def test_a_wrong_value_is_named_beside_the_whole_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_PARTITIONS", "many")
    monkeypatch.setenv("VEILSTREAM_TOP_K", "20")
    assert run(["settings", "--json"]) == 1
    rows, error = listed(capsys)
    assert rows["VEILSTREAM_PARTITIONS"]["value"] == "many" and rows["VEILSTREAM_TOP_K"]["value"] == "20"
    assert error.startswith("error: VEILSTREAM_PARTITIONS: ")


def test_a_variable_that_is_no_setting_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_TRESHOLD", "0.4")
    assert run(["settings"]) == 1
    assert "did you mean VEILSTREAM_THRESHOLD?" in capsys.readouterr().err


def test_a_misspelt_variable_is_named_when_settings_are_loaded(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_TOPK", "5")
    monkeypatch.setenv("VEILSTREAM_METRICS_PORT_9464_TCP_ADDR", "10.0.0.1")  # Kubernetes sets it for a service
    load_settings()
    assert [record.getMessage() for record in caplog.records] == [
        "VEILSTREAM_TOPK is not a setting and has no effect; did you mean VEILSTREAM_TOP_K?"
    ]
    assert doctest.testmod(settings).failed == 0


def test_the_table_keeps_names_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings"]) == 0
    output = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"VEILSTREAM_{name.upper()} " in output
