"""Gathers the documents for the site: ``python -m docs.generator.site FOLDER``, which ``make docs`` calls before mkdocs.

The documents link to each other across folders, so the site has the repository's layout: pages, and each file that a page links to.
The index (``docs/README.md``) gives the navigation.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "site"
_LINK = re.compile(r"\]\(([^)\s#]+)")
_SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.M | re.S)
_ENTRY = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)\)")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def gather(folder: Path) -> Path:
    """Copy the documents to ``folder``/source, and write mkdocs' configuration with the navigation. Returns its path."""
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    for path in sorted(found()):
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    configuration = folder / "mkdocs.yml"
    nav = yaml.safe_dump(
        {"nav": navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))}, sort_keys=False, allow_unicode=True
    )
    configuration.write_text((SITE / "mkdocs.yml").read_text(encoding="utf-8") + nav, encoding="utf-8")
    return configuration


def found() -> set[Path]:
    """The pages, what they link to, and what those pages link to."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md", ROOT / "docs" / "README.md", *SITE.glob("*.js"), *SITE.glob("*.css")]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        if path.suffix == ".md":
            waiting += list(linked(path))
    return seen


def linked(page: Path) -> Iterator[Path]:
    """The files of the repository that a page links to."""
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            yield (page.parent / link).resolve()


def navigation(index: str) -> list[dict[str, object]]:
    """The sections of the index, with each page once, where it comes first.

    >>> navigation("# Documents\\n## First\\n| [Read me](../README.md) | x |\\n| [Keys](keys.md#who) | y |\\n")
    [{'Documents': 'docs/README.md'}, {'First': [{'Read me': 'README.md'}]}]
    """
    seen: set[str] = set()
    sections: list[dict[str, object]] = [{"Documents": "docs/README.md"}]
    for title, body in _SECTION.findall(index):
        pages: list[dict[str, str]] = []
        for name, link in _ENTRY.findall(body):
            path = link.removeprefix("../") if link.startswith("../") else f"docs/{link}"
            if path not in seen:
                seen.add(path)
                pages.append({name: path})
        if pages:
            sections.append({title: pages})
    return sections


if __name__ == "__main__":
    gather(Path(sys.argv[1]).resolve())
