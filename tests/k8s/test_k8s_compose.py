"""``compose.yaml``: it fits the Compose specification, and what it says about the product and about Prometheus is so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import click
import jsonschema
import pytest
import yaml

from k8s.compose.__main__ import alerts
from streams.app import STAGES
from streams.cli.main import cli
from streams.settings import KafkaSettings, Settings
from tests.support import ROOT
from tests.support.kubernetes import K8S, compose_schema
from tests.support.toolchains import ToolMissing

TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FOREIGN = {"kafka", "prometheus", "grafana"}
OURS = {name: service for name, service in SERVICES.items() if name not in FOREIGN}
OF_LIBRARIES = {"HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE"}


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("promtool is not installed (Debian: prometheus)")
    return str(found)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Lines of `veilstream …`, with the service."""
    for name, service in OURS.items():
        command = service["command"]
        if service.get("entrypoint", [None])[0] == "sh":
            lines = [part.strip().split() for line in command[0].splitlines() for part in line.split("||")]
            yield from ((name, line[1:]) for line in lines if line[:1] == ["veilstream"])
        elif command[:1] == ["veilstream"]:
            yield name, command[1:]


@pytest.mark.slow
def test_it_fits_the_specification() -> None:
    try:
        schema = json.loads(compose_schema().read_text(encoding="utf-8"))
    except ToolMissing as missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(missing))
    specification = jsonschema.Draft7Validator(schema)
    specification.validate(COMPOSE)
    wrong = {**COMPOSE, "services": {**SERVICES, "ingest": {**SERVICES["ingest"], "comand": ["veilstream"]}}}
    with pytest.raises(jsonschema.ValidationError):
        specification.validate(wrong)


def test_every_command_exists() -> None:
    found = list(commands())
    for _, (name, *arguments) in found:
        words, command = [name, *arguments], cli
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words[0])  # type: ignore[assignment]
            assert command is not None
            words.pop(0)
        command.make_context(name, list(words))
    started = {arguments[-1] if arguments[0] == "worker" else arguments[0] for _, arguments in found}
    assert started == {*STAGES, "trainer", "console", "demo", "keys", "topics"}


def test_every_variable_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"VEILSTREAM_{name.upper()}" for name in Settings.model_fields} | {
        f"KAFKA_{name.upper()}" for name in KafkaSettings.model_fields
    }
    for service in OURS.values():
        assert set(service["environment"]) <= known | OF_LIBRARIES
    with monkeypatch.context() as patch:
        for name, value in SERVICES["console"]["environment"].items():
            patch.setenv(name, "all" if value.startswith("${") else value)
        settings = Settings()
    asked = settings.console_workers.split(",")
    assert sorted(asked) == sorted(f"{name}:{settings.metrics_port}" for name in (*STAGES, "trainer"))


def test_images_are_targets_and_nothing_is_open() -> None:
    targets = {line.rsplit(" AS ", 1)[1] for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if " AS " in line}
    for name, service in OURS.items():
        assert service["build"]["target"] in targets
        assert service["image"] == f"veilstream/{service['build']['target']}:dev"
        if name != "volume":
            assert service["user"] == "10001:10001" and service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert all(service["image"].rpartition(":")[2] not in ("", "latest") for service in SERVICES.values())
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 4 and all(port.startswith("127.0.0.1:") for port in ports)


def test_volumes_and_files_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


def test_the_alerts_are_those_of_kubernetes() -> None:
    assert (K8S / "compose" / "alerts.yaml").read_text(encoding="utf-8") == alerts(), "write it anew: make dashboards"


def test_prometheus_reads_its_files() -> None:
    done = subprocess.run([promtool(), "check", "config", K8S / "compose" / "prometheus.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_every_worker() -> None:
    jobs = yaml.safe_load((K8S / "compose" / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = [(name, one["port"]) for job in jobs for one in job["dns_sd_configs"] for name in one["names"]]
    first = int(SERVICES["demo"]["command"][SERVICES["demo"]["command"].index("--metrics") + 1].rpartition(":")[2])
    assert asked == [(name, 9464) for name in (*STAGES, "trainer")] + [("demo", first + place) for place in range(len(STAGES))]
    assert all({"target_label": "namespace", "replacement": "compose"} in job["relabel_configs"] for job in jobs)
