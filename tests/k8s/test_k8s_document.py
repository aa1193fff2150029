"""docs/kubernetes.md makes the Secrets that the pods mount."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.k8s.test_k8s_keys import PROCESSES, items
from tests.support import ROOT
from tests.support.kubernetes import K8S, OVERLAYS

DOCUMENT = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROCESSES)
def test_a_secret_holds_what_the_pod_needs(name: str) -> None:
    (line,) = re.findall(rf"^kubectl create secret generic veilstream-keys-{name} (.*)$", DOCUMENT, re.M)
    files = re.findall(r"--from-file=keys/(\S+)", line)
    assert len(files) == len(set(files)) and set(files) == items(name, optional=False)


def test_what_a_rotation_adds_is_named() -> None:
    for name in PROCESSES:
        assert all(f"`{key}`" in DOCUMENT for key in items(name, optional=True))


def test_every_component_and_overlay_is_named() -> None:
    (section,) = re.findall(r"^## What is in it\n(.*?)^- ", DOCUMENT, re.M | re.S)
    components = {path.name for path in (K8S / "base").iterdir() if path.is_dir()} - {"namespace"}
    assert {
        name for row in section.splitlines() for name in re.findall(r"`([a-z]+)`", row.split("|")[1] if "|" in row else "")
    } == components
    assert all(f"`{name}`" in DOCUMENT for name in OVERLAYS)
    assert {path.name for path in Path(K8S / "overlays").iterdir()} == set(OVERLAYS)
