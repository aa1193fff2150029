"""The documents name only what exists: files, settings, metrics, ``make`` targets, commands and links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

import pytest

from streams.settings import KafkaSettings, Settings
from streams.topics import DAY_MS, TOPICS
from tests.support import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(path for path in (ROOT / "docs").rglob("*.md") if "node_modules" not in path.parts)]
TOP_FOLDERS = (".ci", "benchmarks", "docs", "encoders", "k8s", "schemas", "streams", "tests")
OF_LIBRARIES = ("aiokafka/",)
"""Paths that begin so are files of a library."""
WRITTEN_BY_THE_PRODUCT = {"report.md"}
"""Files that a command writes at run time."""

NOT_COMMANDS = {"model", "sealed"}
"""``veilstream model manifest`` and ``veilstream sealed id`` are lines that signatures cover."""

_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.M)
_TARGET = re.compile(r"^([a-z][a-z%-]*):", re.M)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_path_exists(document: Path) -> None:
    assert [path for path in paths(document) if not exists(path)] == []


def test_every_setting_is_known(document: Path) -> None:
    known = {f"VEILSTREAM_{name.upper()}" for name in Settings.model_fields}
    known |= {f"KAFKA_{name.upper()}" for name in KafkaSettings.model_fields}
    named = re.findall(r"\b(?:VEILSTREAM|KAFKA)_[A-Z0-9_]*", document.read_text(encoding="utf-8"))
    assert [name for name in named if not is_one_of(name, known)] == []


@pytest.mark.slow
def test_every_metric_is_defined(document: Path) -> None:
    named = re.findall(r"\bveilstream_[a-z0-9_]*", document.read_text(encoding="utf-8"))
    assert [name for name in named if not is_one_of(name, metrics())] == []


def test_every_make_target_exists(document: Path) -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    named = re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(code(document)))
    assert [name for name in named if name not in targets and not is_benchmark(name)] == []


def test_every_command_exists(document: Path) -> None:
    named = re.findall(r"(?:^|/| |\()veilstream ([a-z]+)", "\n".join(code(document)), re.M)
    commands = {path.stem for path in (ROOT / "streams" / "cli").glob("*.py")}
    assert [name for name in named if name not in commands | NOT_COMMANDS] == []


def test_every_link_has_its_file_and_heading(document: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_topic_is_kept_as_the_document_says() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|$", (ROOT / "docs" / "retention.md").read_text(encoding="utf-8"), re.MULTILINE)
    said = {name: kept for names, kept in rows for name in re.findall(r"`([a-z.-]+)`", names)}
    assert set(said) == {spec.name for spec in TOPICS}
    for spec in TOPICS:
        if spec.retention_ms is None:
            assert said[spec.name].startswith("the last value of each key"), spec.name
        elif spec.retention_ms < 0:
            assert said[spec.name].startswith("for ever"), spec.name
        else:
            days = spec.retention_ms // DAY_MS
            assert said[spec.name] == f"{days} day{'s' if days > 1 else ''}", spec.name


@pytest.mark.parametrize("path", ["streams/no_such_file.py", "no_such_file.py", "engine/app.py", "no_such_folder/"])
def test_a_path_that_does_not_exist_is_seen(path: str) -> None:
    assert not exists(path)


def test_metrics_are_found_in_the_code() -> None:
    assert {"veilstream_lag_records", "veilstream_encoder_info", "veilstream_trainer_loss", "veilstream_training_running"} <= metrics()
    assert "veilstream_no_such_metric" not in metrics()


def test_a_heading_becomes_an_anchor(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# The `models` topic: who reads?\n```\n# a comment\n```\n", encoding="utf-8")
    assert anchors(tmp_path / "page.md") == {"the-models-topic-who-reads"}


def code(document: Path) -> list[str]:
    """What stands between backticks, and the blocks of code."""
    text = document.read_text(encoding="utf-8")
    return [*_FENCE.findall(text), *_CODE.findall(_FENCE.sub("", text))]


def paths(document: Path) -> Iterator[str]:
    """What stands between backticks and looks like a file or folder of the repository. Names with a placeholder are left out."""
    for part in _CODE.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        word = part.split("::")[0].rstrip(".:,")
        if not re.fullmatch(r"[\w./-]+", word) or word.startswith(("/", "var/", *OF_LIBRARIES)) or word in WRITTEN_BY_THE_PRODUCT:
            continue
        if ("/" in word and word.split("/")[0] in TOP_FOLDERS) or re.search(r"\w\.(py|md|avsc|toml|lock|xml)$", word):
            yield word


def exists(path: str) -> bool:
    """From the root, or the end of exactly such a path: ``engine/health.py`` is ``streams/engine/health.py``."""
    return (ROOT / path).exists() or any(f"/{file}".endswith(f"/{path}") for file in files())


@cache
def files() -> list[str]:
    """The repository's files, relative to the root."""
    return [str(path.relative_to(ROOT)) for folder in TOP_FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]


@cache
@cache
def metrics() -> frozenset[str]:
    """Names of the metrics, as queries use them."""
    from streams.wiring.metrics_list import metric_entries

    found = set()
    for entry in metric_entries():
        found |= {entry.name, *(f"{entry.name}_{part}" for part in ("bucket", "count", "sum") if entry.kind == "histogram")}
    return frozenset(found)


def is_one_of(name: str, known: Set[str]) -> bool:
    """``VEILSTREAM_TRAINER_`` stands for all names that begin so."""
    return name in known or (name.endswith("_") and any(whole.startswith(name) for whole in known))


def is_benchmark(target: str) -> bool:
    return target.startswith("bench-") and (ROOT / "benchmarks" / f"{target.removeprefix('bench-').replace('-', '_')}.py").is_file()


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
