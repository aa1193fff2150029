"""The libraries of the examples in other languages, installed once from their lock files to a cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support import ROOT
from tests.support.maven import fetched

EXAMPLES = ROOT / "docs" / "clients"


class ToolMissing(Exception):
    """Says which."""


def java_libraries() -> Path:
    """The folder with the jars. Raises JavaMissing."""
    return fetched(EXAMPLES / "java" / "pom.xml", "copy-dependencies", "-DincludeScope=runtime")


def node_modules() -> Path:
    """A folder with ``node_modules``. Raises ToolMissing."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise ToolMissing("the examples for Node.js need node and npm on the PATH")

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(EXAMPLES / "node" / name, folder)
        _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), cwd=folder)

    return _cached("clients-node", EXAMPLES / "node" / "package-lock.json", install)


def python() -> Path:
    """The interpreter of an environment with nothing but the examples' libraries."""

    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder)
        lock = EXAMPLES / "python" / "requirements.txt"
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--disable-pip-version-check"]
        _run(*pip, "-q", "--require-hashes", "--only-binary", ":all:", "-r", str(lock), cwd=folder)

    return _cached(f"clients-python{sys.version_info.minor}", EXAMPLES / "python" / "requirements.txt", install) / "bin" / "python"


def _cached(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    version = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "veilstream" / f"{name}-{version}"
    if not cache.is_dir():
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=cache.parent, prefix="installing-"))
        try:
            install(fresh)
            fresh.rename(cache)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            if not cache.is_dir():  # else another run was first
                raise
    return cache


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise ToolMissing(f"{Path(command[0]).name} could not install what an example needs: {(done.stderr or done.stdout).strip()[-500:]}")
