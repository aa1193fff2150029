"""``veilstream settings`` lists everything, also when something is wrong."""

from __future__ import annotations

import doctest
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import settings, visible_text
from streams.cli.main import run
from streams.errors import ConfigurationError
from streams.serde.registry_access import RegistryAccess
from streams.settings import KafkaSettings, Settings, load_settings
from streams.visible_text import without_secrets


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


def test_what_travels_unencrypted_is_warned_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.shop:9092")
    assert run(["settings", "--json"]) == 0
    _, error = listed(capsys)
    assert error.splitlines() == [
        "warning: every record travels unencrypted to the brokers (PLAINTEXT); set KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL"
    ]
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    assert run(["settings"]) == 0
    assert capsys.readouterr().err == ""


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


SECRET = "hunter2"
WITH_SECRETS = {
    "KAFKA_BOOTSTRAP_SERVERS": [f"me:{SECRET}@broker:9092", f"a:1,me:x,{SECRET}@b:2"],
    "VEILSTREAM_REGISTRY_URL": [
        f"https://me:{SECRET}@registry",
        f"https://{SECRET}@registry",
        f"https://me:x?{SECRET}@registry/x",
        f"https://registry/x?a=@b&key={SECRET}",
        f"https://registry/#{SECRET}",
    ],
    "VEILSTREAM_MODELS": [f"s3://key:{SECRET}@bucket/x", f"simplecache::https://me:{SECRET}@host/x", f"https://host/x?sig={SECRET}"],
    "VEILSTREAM_MODEL": [f"https://me:{SECRET}@host/model", f"https://host/model?token={SECRET}"],
    "VEILSTREAM_REGISTRY_HEADERS": [f"X-Key={SECRET}, X-Other=a={SECRET}"],
}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in WITH_SECRETS.items() for value in values])
def test_no_secret_of_an_address_is_shown(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    value: str,
) -> None:
    """Neither by the list of settings, also where another one is wrong, nor by what refuses the address."""
    monkeypatch.setenv(variable, value)
    for partitions in ("4", "many"):
        monkeypatch.setenv("VEILSTREAM_PARTITIONS", partitions)
        for words in (["settings", "--json"], ["settings"]):
            assert run(words) == (0 if partitions == "4" else 1)
    monkeypatch.delenv("VEILSTREAM_PARTITIONS")
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(tmp_path / "keys"))
    assert run(["keys", "generate"]) == 0
    uses = {
        "KAFKA_BOOTSTRAP_SERVERS": ["topics", "check"],
        "VEILSTREAM_MODELS": ["models", "list"],
        "VEILSTREAM_MODEL": ["models", "add", value],
    }
    if variable in uses:
        assert run(uses[variable]) == 1
    elif variable == "VEILSTREAM_REGISTRY_URL":
        with pytest.raises(ConfigurationError) as raised:
            RegistryAccess.from_settings(load_settings())
        assert SECRET not in str(raised.value)
    captured = capsys.readouterr()
    assert SECRET not in captured.out + captured.err + caplog.text
    assert variable in captured.out


def test_an_address_with_a_name_is_none_of_kafka(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "token@broker:9092")
    assert run(["topics", "check"]) == 1
    assert "KAFKA_BOOTSTRAP_SERVERS must be host:port" in capsys.readouterr().err


@pytest.mark.parametrize("plain", ["localhost:9092,[::1]:9092", "https://registry/apis/ccompat/v7", "s3://bucket/models", "me@x", "#1?"])
def test_addresses_without_secrets_are_shown(plain: str) -> None:
    assert without_secrets(plain) == plain


def test_the_doctests_of_addresses() -> None:
    assert doctest.testmod(visible_text).failed == 0


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_no_password_is_left(password: str) -> None:
    assert without_secrets(f"https://me:{password}@host/x") in ("https://***@host/x", "https://***")
    if "://" not in password:
        assert without_secrets(f"me:{password}@host") == "***@host"
