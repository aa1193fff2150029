"""A real Prometheus, and an Alertmanager that tells a webhook, as processes: Debian's `prometheus` and `prometheus-alertmanager`."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.deployment import free_port
from tests.support.toolchains import ToolMissing
from tests.support.waiting import wait_until

_PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}


def program(name: str) -> str:
    """Raises ToolMissing."""
    found = next(filter(None, map(shutil.which, _PROGRAMS[name])), None)
    if found is None:
        raise ToolMissing(f"{name} is not installed (Debian: apt-get install {_PROGRAMS[name][0]})")
    return found


class Webhook:
    """What Alertmanager tells, in the order in which it came."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        told = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Monitoring:
    """Prometheus and Alertmanager with data in ``folder``."""

    def __init__(self, folder: Path, targets: Mapping[str, Mapping[str, str]], rules: Mapping[str, Any], webhook: str) -> None:
        """``targets``: addresses to the labels that their series get."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port, alerts = free_port(), free_port()
        scrapes = [{"targets": [address], "labels": dict(labels)} for address, labels in targets.items()]
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "veilstream", "static_configs": scrapes}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alerts}"]}]}]},
        }
        route = {"receiver": "test", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
        receiver = {"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
        for name, content in (
            ("prometheus.yaml", configuration),
            ("rules.yaml", rules),
            ("alertmanager.yaml", {"route": route, "receivers": [receiver]}),
        ):
            (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
        self._start(
            *(program("alertmanager"), "--config.file=alertmanager.yaml", "--storage.path=alertmanager", "--cluster.listen-address="),
            f"--web.listen-address=127.0.0.1:{alerts}",
        )
        self._start(
            *(program("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data"),
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        wait_until(self._is_ready, self._logs, seconds=60)

    def _start(self, *command: str) -> None:
        with (self._folder / f"{Path(command[0]).name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log))

    def _is_ready(self) -> bool:
        assert all(process.poll() is None for process in self._processes), self._logs()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _logs(self) -> str:
        return "\n".join(path.read_text(encoding="utf-8")[-2000:] for path in self._folder.glob("*.log"))

    def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of the API. AssertionError where Prometheus says what is wrong."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def values(self, query: str) -> list[float]:
        """Of all series of an instant query."""
        return [float(one["value"][1]) for one in self.ask("query", query=query)["result"]]

    def ranges(self, query: str, seconds: float, step: float) -> list[tuple[dict[str, str], Sequence[tuple[float, float]]]]:
        """Series of the last so many seconds: labels, and times with values."""
        now = time.time()
        found = self.ask("query_range", query=query, start=f"{now - seconds}", end=f"{now}", step=f"{step}")["result"]
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in found]

    def firing(self) -> dict[str, str]:
        """Alerts that fire, with what they say."""
        alerts = self.ask("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["annotations"]["summary"] for one in alerts if one["state"] == "firing"}

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
