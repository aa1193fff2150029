"""The site of the documents: every page is in it, and no page fetches anything from elsewhere."""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.generator import site
from tests.support import ROOT


def mkdocs() -> str:
    """The program, of ``make docs`` or of the path; skips where there is none."""
    of_make = ROOT / ".venv" / "docs" / "bin" / "mkdocs"
    found = os.environ.get("MKDOCS") or (str(of_make) if of_make.is_file() else shutil.which("mkdocs"))
    if found is None:
        pytest.skip("mkdocs is not installed: `make docs` installs requirements-docs.lock into .venv/docs, or set MKDOCS to the program")
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = mkdocs()
    configuration = site.gather(tmp_path_factory.mktemp("site"))
    command = [program, "build", "--strict", "--quiet", "--config-file", str(configuration)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert result.returncode == 0, result.stdout + result.stderr
    return configuration.parent / "site"


def pages(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.html")):
        yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")


def test_examples() -> None:
    assert doctest.testmod(site).failed == 0


def test_what_is_gathered_holds_every_page_and_its_pictures(tmp_path: Path) -> None:
    configuration = site.gather(tmp_path)
    gathered = {path.relative_to(tmp_path / "source").as_posix() for path in (tmp_path / "source").rglob("*") if path.is_file()}
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md") if "node_modules" not in path.parts}
    assert expected | {"README.md", "README.zh-CN.md", "CHANGELOG.md", "benchmarks/README.md", "docs/images/flow.svg"} <= gathered
    (tmp_path / "source" / "docs" / "gone.md").write_text("from before")
    site.gather(tmp_path)
    assert not (tmp_path / "source" / "docs" / "gone.md").exists()
    assert "\nnav:\n" in configuration.read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_builds_and_every_page_is_there(built: Path) -> None:
    found = dict(pages(built))
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT).with_suffix(".html").as_posix().replace("README.html", "index.html")
        assert "node_modules" in path.parts or name in found
    assert '<h2 id="behaviourdead-letter">' in found["docs/reference/schemas.html"]


@pytest.mark.slow
def test_no_page_fetches_from_elsewhere(built: Path) -> None:
    for name, text in pages(built):
        fetched = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]+)", text)
        assert fetched == [], name
        assert "iframe-worker-shim.js" in text  # the theme fetches its own otherwise
        assert 'class="mermaid"' not in text, f"{name}: the theme would fetch mermaid"
    sheets = "\n".join(path.read_text(encoding="utf-8") for path in built.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheets) == []


@pytest.mark.slow
def test_the_search_finds_settings_offline(built: Path) -> None:
    entries = json.loads((built / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert any("VEILSTREAM_TOP_K" in entry["text"] for entry in entries if entry["location"].startswith("docs/reference/settings.html"))
    assert (built / "search" / "search_index.js").is_file()  # what a page opened from a disk reads
