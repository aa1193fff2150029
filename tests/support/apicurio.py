"""Apicurio Registry, a registry as shops run it, from its Maven artifact: a process with its storage in memory."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support import ROOT
from tests.support.deployment import free_port
from tests.support.maven import fetched, java

PATH = "/apis/ccompat/v7"
"""Where its Confluent-compatible API is."""
_START_S = 120.0


class Apicurio:
    def __init__(self, folder: Path) -> None:
        """Raises JavaMissing."""
        self._libraries = fetched(ROOT / "tests" / "serde" / "apicurio" / "pom.xml", "unpack-dependencies")
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def start(self) -> None:
        """Returns when it answers. Everything registered before is gone."""
        (runner,) = self._libraries.rglob("*-runner.jar")
        environment = {**os.environ, "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self.port)}
        with (self._folder / "apicurio.log").open("ab") as log:
            command = java("-jar", str(runner), heap="384m")
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self._folder)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Apicurio did not start:\n{(self._folder / 'apicurio.log').read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:  # noqa: S310 - an address of ours
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
