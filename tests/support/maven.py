"""Programs in Java for the tests, fetched once by Maven to a cache folder. Each has a POM beside its tests, with its exact version."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


class JavaMissing(Exception):
    """Java 17 or Maven is not here, or Maven could not fetch; says which."""


def fetched(pom: Path, goal: str, *options: str) -> Path:
    """The folder with what ``goal`` of the dependency plugin puts there; made the first time. Raises JavaMissing."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        raise JavaMissing(f"this test needs {'Java 17' if java is None else 'Maven'} on the PATH")
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', printed)
    if found is None or int(found.group(1)) < 17:
        raise JavaMissing("this test needs Java 17 or newer")
    name = f"{pom.parent.name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "veilstream" / name
    if not cache.is_dir():
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=cache.parent, prefix="fetching-"))
        # The plugin's own notes of what it has unpacked would lie beside the POM.
        folders = [f"-DoutputDirectory={fresh}", f"-DmarkersDirectory={fresh / '.markers'}"]
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(pom), f"{DEPENDENCY_PLUGIN}:{goal}", *folders, *options],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise JavaMissing(f"Maven could not fetch {pom.parent.name}: {(done.stdout or done.stderr).strip()[-300:]}")
        try:
            fresh.rename(cache)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)  # another run was first
    return cache


def java(*arguments: str, heap: str = "512m") -> Sequence[str]:
    """A command line. The first of the two compilers only: what lives for a minute would give the second one a core for nothing."""
    return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *arguments]
