"""Where the demo's workers serve /metrics."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.simulator.stages import StageProcesses, metrics_address
from tests.support.deployment import free_ports
from tests.support.waiting import wait_until


def test_an_address() -> None:
    assert metrics_address("0.0.0.0:9464") == ("0.0.0.0", 9464)
    assert metrics_address("[::1]:80") == ("::1", 80)
    for wrong in ("9464", ":9464", "host", "host:", "host:0", "host:65535", "host:x", ""):
        with pytest.raises(ConfigurationError, match="HOST:PORT"):
            metrics_address(wrong)


def test_one_port_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that serve one page stand for the workers."""
    server = tmp_path / "server.py"
    server.write_text(
        "import http.server, os\n"
        "class Ready(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['VEILSTREAM_METRICS_PORT'])), Ready).serve_forever()\n"
    )
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {server}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    first = free_ports(2)
    stages = StageProcesses({}, tmp_path / "logs", first)
    try:
        stages.start(("ingest", "catalogue"))
        wait_until(lambda: not stages.waiting_for(), "both answer", seconds=30)
        for port in (first, first + 1):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                assert answer.status == 200
    finally:
        stages.stop()
