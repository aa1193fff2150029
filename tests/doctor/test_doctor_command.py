"""``veilstream doctor`` where something is missing: it says what, first thing first, within ten seconds."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.broker.embedded import EmbeddedBroker
from streams.cli.doctor import _NAMES
from streams.doctor.checkup import examine, read_settings
from streams.doctor.findings import CHECKS, Finding
from streams.doctor.scope import SCOPES
from tests.support.deployment import Deployment, deployed

COMMAND = [sys.executable, "-m", "streams.cli.main", "doctor"]
LIMIT_S = 60.0
"""Of a whole process: the start of Python takes its time on a busy machine."""


def shop(folder: Path, servers: str = "127.0.0.1:1", **settings: str) -> Deployment:
    return Deployment(folder, servers, "", {"VEILSTREAM_MODEL": "hashing", **settings})


def examined(deployment: Deployment, *words: str) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Findings by check, and the exit code."""
    done = deployment.command("doctor", "--json", *words, check=False)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["healthy"] == (done.returncode == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for one in told["findings"]:
        assert set(one) == {"check", "state", "what", "fix"} and (one["state"] in ("ok", "skipped") or one["fix"]), one
        found.setdefault(one["check"], []).append(one)
    assert list(found) == list(CHECKS)
    return found, done.returncode


def test_the_names_of_the_option_are_those_of_the_table() -> None:
    assert _NAMES == SCOPES


def test_a_fresh_clone_is_told_what_to_begin_with(tmp_path: Path) -> None:
    """Nothing is set, nothing runs, and nothing is made."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("VEILSTREAM_", "KAFKA_"))}
    begin = time.monotonic()
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env={**variables, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, capture_output=True, text=True, check=False
    )
    assert time.monotonic() - begin < LIMIT_S
    assert done.returncode == 1 and done.stderr == "" and "\x1b" not in done.stdout
    *lines, last = done.stdout.splitlines()
    assert all(re.fullmatch(r"(ok|warning|fault|skipped) +[a-z]+ +\S.*", line) for line in lines)
    assert "veilstream keys generate" in lines[1] and lines[1].startswith("fault    keys ")
    assert "`veilstream broker`" in lines[2] and lines[2].startswith("fault    broker ")
    assert "skipped  topics    the broker is not reachable" in lines
    assert last.startswith("2 faults, ") and "begin with the keys: make them with `veilstream keys generate`" in last
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_keeps_to_eighty_columns(tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(COMMAND, cwd=tmp_path, env=shop(tmp_path).environment, stdout=secondary)
    os.close(secondary)
    parts = []
    while True:
        try:
            parts.append(os.read(primary, 65_536))
        except OSError:  # the other end is closed
            break
    assert process.wait(30) == 1
    os.close(primary)
    text = b"".join(parts).decode()
    assert "\x1b[31mfault" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    # What may not be broken, such as an address, may be longer.
    assert all(len(line) <= 80 or " " not in line.strip() for line in plain), plain


def test_settings_that_are_unknown_or_wrong(tmp_path: Path) -> None:
    deployment = shop(tmp_path)
    wrong = {**deployment.environment, "VEILSTREAM_TRESHOLD": "0.4", "VEILSTREAM_K": "many", "VEILSTREAM_TOP_K": "0"}
    done = subprocess.run([*COMMAND, "--json"], env=wrong, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)["findings"]
    assert [(one["state"], one["what"].partition(":")[0], one["fix"]) for one in found if one["check"] == "settings"] == [
        ("warning", "VEILSTREAM_TRESHOLD is not a setting and has no effect", "did you mean VEILSTREAM_THRESHOLD?"),
        ("fault", "VEILSTREAM_K", "see `veilstream settings` for what it takes"),
        ("fault", "VEILSTREAM_TOP_K", "see `veilstream settings` for what it takes"),
    ]
    assert {one["what"] for one in found if one["check"] != "settings"} == {"the settings can't be read"}


def test_an_unknown_setting_alone_is_a_warning(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, deployed(tmp_path, broker.bootstrap_servers, "", **EMBEDDED) as deployment:
        wrong = {**deployment.environment, "VEILSTREAM_TOPK": "3"}
        done = subprocess.run([*COMMAND], env=wrong, cwd=deployment.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("warning  settings  VEILSTREAM_TOPK is not a setting and has no effect; did you mean VEILSTREAM_TOP_K?\n")
    assert done.stdout.splitlines()[-1].startswith("no fault, ")


EMBEDDED = {"VEILSTREAM_MODEL": "hashing", "VEILSTREAM_IDEMPOTENT_PRODUCER": "false"}


def test_the_embedded_broker_is_well_for_what_it_is(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, deployed(tmp_path, broker.bootstrap_servers, "", **EMBEDDED) as deployment:
        found, code = examined(deployment)
        assert code == 0, found
        assert [one["state"] for one in found["topics"]] == ["ok"]
        assert [one["what"] for one in found["rights"]] == ["the broker does not tell rights (before Kafka 2.3, or the embedded broker)"]
        assert "tell no time" in found["clock"][0]["what"] and found["clock"][0]["state"] == "skipped"
        deployment.settings = {"VEILSTREAM_MODEL": "hashing"}
        found, code = examined(deployment)
        (one,) = [one for one in found["broker"] if one["state"] == "fault"]
        assert code == 1 and one["fix"] == "set VEILSTREAM_IDEMPOTENT_PRODUCER=false"


def test_a_port_that_speaks_http(tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begin = time.monotonic()
        found, code = examined(shop(tmp_path, f"127.0.0.1:{server.server_port}"), "--stage", "ingest")
        server.shutdown()
    assert code == 1 and time.monotonic() - begin < LIMIT_S
    (one,) = found["broker"]
    assert one["what"] == f"what answers at 127.0.0.1:{server.server_port} speaks HTTP and is no broker"
    assert "KAFKA_BOOTSTRAP_SERVERS" in one["fix"] and found["rights"][0]["what"] == "the broker is not reachable"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_brokers_and_a_registry_that_say_nothing_take_ten_seconds_at_most(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = shop(tmp_path, f"{silent},{silent}", VEILSTREAM_REGISTRY_URL=f"http://{silent}").environment
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    told: list[Finding] = []
    begin = time.monotonic()
    found = asyncio.run(examine("all", read_settings(), told.append))
    assert time.monotonic() - begin < 10
    assert found == told and [one.state for one in found if one.check == "broker"] == ["fault"]
    assert [one.state for one in found if one.check == "registry"] == ["skipped"]
    assert tuple(dict.fromkeys(one.check for one in found)) == CHECKS


def test_a_registry_that_is_none(tmp_path: Path) -> None:
    found, _ = examined(shop(tmp_path, VEILSTREAM_REGISTRY_URL="http://127.0.0.1:1/x"), "--stage", "feedback")
    (one,) = found["registry"]
    assert one["state"] == "fault" and "does not answer" in one["what"] and one["fix"] == "see VEILSTREAM_REGISTRY_URL"


def test_no_password_of_an_address_is_shown(tmp_path: Path) -> None:
    deployment = shop(
        tmp_path, "me:hunter2@broker:9092", VEILSTREAM_REGISTRY_URL="http://me:hunter2@registry", VEILSTREAM_MODELS="s3://a:hunter2@b/c"
    )
    deployment.command("keys", "generate")
    done = deployment.command("doctor", check=False)
    assert done.returncode == 1 and "hunter2" not in done.stdout + done.stderr
