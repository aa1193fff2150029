"""The Dockerfile's targets: what they install fits the lock, and the steps of the smallest one are run here, without a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.kubernetes import K8S

ROLES = {"worker": (), "model": ("model",), "demo": ("model", "demo"), "trainer": ("model", "train")}
"""Target to the extras that it has."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def stages() -> dict[str, list[str]]:
    """The instructions of each stage of the Dockerfile, by its name; the first one is the FROM line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("FROM "):
            current = found.setdefault(line.rsplit(" AS ", 1)[1], [])
        if line and not line.startswith(("#", "ARG ")):
            current.append(line)
    return found


def pinned(path: Path) -> dict[str, str]:
    """The versions in a lock file."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ \\;]+)", path.read_text(encoding="utf-8"), re.M)
    return {name.lower().replace("_", "-"): version for name, version in found}


def needed(extras: tuple[str, ...]) -> set[str]:
    requirements = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    names = {re.split(r"[\[<>=;, ]", one)[0].lower().replace("_", "-") for one in requirements}
    return names - {"veilstream"}


@pytest.mark.parametrize("role", ROLES)
def test_a_target_has_the_libraries_of_its_extras(role: str) -> None:
    lock = pinned(K8S / "image" / f"{role}.lock")
    whole = pinned(ROOT / "requirements.lock")
    assert needed(ROLES[role]) <= set(lock), "`make lock` writes it anew"
    assert {name: version for name, version in lock.items() if whole.get(name) != version} == {}, "`make lock` writes it anew"
    assert ("torch" in lock) == ("model" in ROLES[role])
    text = (K8S / "image" / f"{role}.lock").read_text(encoding="utf-8")
    assert text.count("--hash=") >= len(lock)


@pytest.mark.parametrize("role", ROLES)
def test_a_target_runs_as_the_pods_user(role: str) -> None:
    last = stages()[role]
    assert last[0] == f"FROM run AS {role}" and last[-1] == "USER 10001:10001"
    assert f"COPY --from=build-{role} /opt/veilstream /opt/veilstream" in last
    assert f"COPY k8s/image/{role}.lock ./" in stages()[f"build-{role}"]


def test_every_image_of_the_manifests_is_a_target() -> None:
    used = set()
    for path in K8S.glob("base/*/*.yaml"):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            pod = one.get("spec", {}).get("template", {}).get("spec", {}) if isinstance(one, dict) else {}
            used |= {container["image"] for container in pod.get("containers", ())}
    assert used == {f"veilstream/{role}" for role in ROLES if role != "demo"}  # compose.yaml has that one


def test_only_what_an_image_needs_is_sent_to_the_engine() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word.rstrip("/")
        for instructions in stages().values()
        for line in instructions
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert {one if not one.startswith("k8s/image/") else "k8s/image" for one in copied} == sent
    assert all((ROOT / one).exists() for one in copied)


@pytest.mark.slow
def test_the_steps_of_the_worker_install_it(tmp_path: Path) -> None:
    """What the target's RUN lines say, in an environment and folders of their own."""
    source, wheels, environment = tmp_path / "source", tmp_path / "wheel", tmp_path / "environment"
    source.mkdir()
    found = stages()
    for stage in ("build", "wheel", "build-worker"):
        if stage == "build-worker":  # the image begins it with an environment of its own
            shutil.rmtree(environment)
            step("python -m venv /opt/veilstream", source, wheels, environment)
        for line in found[stage]:
            if line.startswith("COPY ") and "--from" not in line:
                *names, _ = line.split()[1:]
                for name in names:
                    copy(ROOT / name, source)
            elif line.startswith("RUN "):
                step(line.removeprefix("RUN "), source, wheels, environment)
    outside = tmp_path / "tmp"
    outside.mkdir()
    given = {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(outside)}

    def veilstream(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["veilstream", *arguments], env=given, cwd=outside, capture_output=True, text=True, check=False)

    printed = veilstream("settings", "--json")
    assert "VEILSTREAM_METRICS_HOST" in {row["variable"] for row in json.loads(printed.stdout)}
    done = subprocess.run(
        ["veilstream", "worker", "--stage", "ingest"], env=given, cwd=outside, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "veilstream keys generate" in done.stderr


def copy(path: Path, folder: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(path, folder)


def step(line: str, source: Path, wheels: Path, environment: Path) -> None:
    """One RUN line. Python of the image is that of the tests; its folders are these."""
    bin_folder = environment / "bin" if environment.is_dir() else Path(sys.executable).parent
    command = line.replace("/opt/veilstream", str(environment)).replace("/wheel", str(wheels))
    given = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    given.pop("PYTHONPATH", None)
    done = subprocess.run(["/bin/sh", "-c", command], env=given, cwd=source, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, f"{line}\n{(done.stderr or done.stdout)[-2000:]}"
