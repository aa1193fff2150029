"""What a release says of itself is so: one version everywhere, a section of the changelog, schemas that are kept."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import yaml

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION: str = PROJECT["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def sections() -> list[tuple[str, str | None]]:
    """Headings of the changelog, newest first: version and date."""
    found = [re.fullmatch(r"## (\S+)(?: \((\S+)\))?", line) for line in CHANGELOG.splitlines() if line.startswith("## ")]
    assert all(found), "a heading is a version and its date, or Unreleased"
    return [(match[1], match[2]) for match in found if match is not None]


def test_the_changelog_has_the_version() -> None:
    versions = sections()
    assert ("Unreleased" if ".dev" in VERSION else VERSION) == versions[0][0]
    released = [(version, day) for version, day in versions if version != "Unreleased"]
    days = [date.fromisoformat(day) for _, day in released if day is not None]
    assert len(days) == len(released) and days == sorted(days, reverse=True)
    numbers = [tuple(map(int, version.split("."))) for version, _ in released]
    assert numbers == sorted(set(numbers), reverse=True)


def test_every_place_names_the_same_version() -> None:
    last = next(version for version, _ in sections() if version != "Unreleased")
    overlay = yaml.safe_load((ROOT / "k8s" / "overlays" / "production" / "kustomization.yaml").read_text(encoding="utf-8"))
    assert {image["newTag"] for image in overlay["images"]} == {last}
    for path in ("docs/kubernetes.md", "Dockerfile"):
        named = set(re.findall(r"(?:veilstream/\w+:|newTag: )(\d+\.\d+\.\d+)", (ROOT / path).read_text(encoding="utf-8")))
        assert named == {last}, path


def test_the_release_before_is_the_one_that_is_upgraded_from() -> None:
    released = [version for version, _ in sections() if version != "Unreleased"]
    (wheel,) = (ROOT / "tests" / "upgrade").glob("veilstream-*.whl")
    before = released[0] if ".dev" in VERSION else released[1]
    assert wheel.name.split("-")[1] == before
    newest = CHANGELOG.split("\n## ")[1]
    assert f"### Upgrade from {before}\n" in newest
