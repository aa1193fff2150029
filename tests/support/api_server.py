"""A real API server of Kubernetes, with etcd beside it, as processes.

``make api-server`` builds both and kubectl from their Go modules, once, to the cache folder: some ten minutes on two cores, and 3 GiB
while it does.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.kubernetes import cached, go, place_of
from tests.support.toolchains import ToolMissing

VERSION = "v1.36.3"
_LIBRARIES = "v0.36.3"
"""Of the modules that the repository of Kubernetes has beside itself, which its own go.mod looks for there."""
_WHAT = f"kubernetes {VERSION} etcd"
_BUILT = ("k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl", "go.etcd.io/etcd/server/v3")
_NAMES = ("kube-apiserver", "kubectl", "etcd")
_READY_S = 90.0


def programs() -> Path:
    """The folder with the three. Raises ToolMissing where they were not built."""
    place = place_of("api-server", _WHAT)
    if not place.is_dir():
        raise ToolMissing("no API server was built here: make api-server")
    return place


def build() -> Path:
    """The same, built where they are missing. Raises ToolMissing."""

    def install(folder: Path) -> None:
        module, cache = folder / "module", folder / "cache"
        module.mkdir()
        where = {"GOFLAGS": "-mod=mod -modcacherw", "GOPATH": str(folder / "go"), "GOCACHE": str(cache)}
        go("mod", "init", "apiserver", cwd=module, **where)
        found = json.loads(go("mod", "download", "-json", f"k8s.io/kubernetes@{VERSION}", cwd=module, **where))
        beside = re.findall(r"^\s*(k8s\.io/[a-z-]+) => \./staging", Path(found["GoMod"]).read_text(encoding="utf-8"), re.MULTILINE)
        assert beside
        edits = [f"-replace={name}={name}@{_LIBRARIES}" for name in beside]
        go("mod", "edit", f"-require=k8s.io/kubernetes@{VERSION}", *edits, cwd=module, **where)
        imports = "\n".join(f'import _ "{path}"' for path in _BUILT)
        (module / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\n{imports}\n", encoding="utf-8")
        version = f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}"
        for path, name in zip(_BUILT, _NAMES, strict=True):
            go("build", "-ldflags", version, "-o", str(folder / name), path, cwd=module, **where)
        for rest in (module, cache, folder / "go"):
            shutil.rmtree(rest)

    return cached("api-server", _WHAT, install)


class ApiServer:
    """etcd and an API server with data in ``folder``, both on this machine's loopback, and kubectl as its administrator."""

    def __init__(self, folder: Path) -> None:
        self._programs, self._folder = programs(), folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._token = secrets.token_hex(16)
        self._port = _free_port()

    def __enter__(self) -> ApiServer:
        self._folder.mkdir(parents=True, exist_ok=True)
        key, tokens = self._folder / "accounts.key", self._folder / "tokens.csv"
        openssl = ["openssl", "genpkey", "-algorithm", "RSA", "-out", str(key)]
        subprocess.run(openssl, check=True, capture_output=True, timeout=60)
        tokens.write_text(f"{self._token},admin,admin,system:masters\n", encoding="utf-8")
        client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        self._start(
            *("etcd", "--data-dir", str(self._folder / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
        )
        self._start(
            *("kube-apiserver", f"--etcd-servers={client}", "--bind-address=127.0.0.1", f"--secure-port={self._port}"),
            *(f"--cert-dir={self._folder / 'certificates'}", f"--token-auth-file={tokens}", "--authorization-mode=RBAC"),
            *("--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24"),
            *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
        )
        deadline = time.monotonic() + _READY_S
        while not self._is_ready():
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                logs = "\n".join((self._folder / f"{name}.log").read_text()[-2000:] for name in ("etcd", "kube-apiserver"))
                self.__exit__()
                raise AssertionError(f"the API server is not ready:\n{logs}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kubectl(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """``text`` is its standard input."""
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        command = [str(self._programs / "kubectl"), "--server", self._address, "--token", self._token, "--insecure-skip-tls-verify"]
        alone = {"HOME": str(home), "PATH": ""}
        return subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, timeout=120, check=False, env=alone)

    @property
    def _address(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def _start(self, *command: str) -> None:
        name, *arguments = command
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen([str(self._programs / name), *arguments], cwd=self._folder, stdout=log, stderr=log))

    def _is_ready(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz").returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(_: Sequence[str] = ()) -> None:
    sys.stdout.write(f"{build()}\n")


if __name__ == "__main__":
    main()
