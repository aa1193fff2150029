"""Every command line and every option that a document, a manifest or the Makefile names is one that the parser takes."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import re
from pathlib import Path

import pytest
import yaml

from streams.app import STAGES
from streams.settings import KafkaSettings, Settings
from streams.topics import BY_NAME
from tests.support import ROOT, command_lines
from tests.support.command_lines import lines, options, problem
from tests.test_documents import DOCUMENTS, code, metrics

TEXTS = [
    *DOCUMENTS,
    ROOT / "Makefile",
    ROOT / "Dockerfile",
    *sorted(path for path in (ROOT / "k8s").rglob("*") if path.suffix in (".yaml", ".env", ".md")),
]
FOREIGN_OPTIONS = {"--build-arg", "--from-file"}
"""Options of other programs that stand alone between backticks."""
_FILE = re.compile(r"\.(csv|tsv|gz|json|jsonl|key|pub|xml|yaml|html|md|py|db|sqlite|avsc)$")
_TOPIC = re.compile(r"(?<![\w./-])(?:behaviour|catalogue|consent|privacy|items|ranking|training|profile)\.[a-z][a-z-]*(?![\w(/-]|\.[a-z])")
_SUBJECT = re.compile(r"-(?:key|value)$")
"""Of a schema registry: the subject of a topic's values."""


def test_examples() -> None:
    assert doctest.testmod(command_lines).failed == 0


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_is_one_that_the_parser_takes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = "\n".join(f"`{part}`" for part in code(path)) if path.suffix == ".md" else text
    assert [(line, wrong) for line in lines(found) if (wrong := problem(line))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_alone_is_one_of_some_command(path: Path) -> None:
    """``--anchors`` in a sentence, without its command."""
    named = [part.split()[0].partition("=")[0] for part in code(path) if re.match(r"--[a-z]", part)]
    assert [name for name in named if name not in options() | FOREIGN_OPTIONS] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_topic_is_one_of_the_table(path: Path) -> None:
    named = [name for part in code(path) for name in _TOPIC.findall(part) if not _FILE.search(name)]
    named = [_SUBJECT.sub("", name) for name in named]
    assert [name for name in named if name not in BY_NAME] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_reads_and_imports_what_exists(path: Path) -> None:
    """Blocks marked as Python, JSON or YAML. What they import of the product is there."""
    for language, text in re.findall(r"^```(python|json|yaml)\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S):
        if language == "python":
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("streams", "encoders", "schemas"):
                    module = importlib.import_module(str(node.module))
                    assert [name.name for name in node.names if not hasattr(module, name.name)] == []
        elif language == "json":
            assert json.loads(text)
        else:
            assert list(yaml.safe_load_all(text))


def test_manifests_start_what_exists_with_settings_that_exist() -> None:
    known = {f"VEILSTREAM_{name.upper()}" for name in Settings.model_fields} | {
        f"KAFKA_{name.upper()}" for name in KafkaSettings.model_fields
    }
    started, named = set(), set()
    for path in sorted((ROOT / "k8s").rglob("*.yaml")):
        for resource in filter(None, yaml.safe_load_all(path.read_text(encoding="utf-8"))):
            for container in containers(resource):
                command = [*container.get("command", ()), *container.get("args", ())]
                if command[:1] == ["veilstream"]:
                    started.add(command[command.index("--stage") + 1] if "--stage" in command else command[1])
                    assert problem(" ".join(command[1:])) is None, path
                named |= {variable["name"] for variable in container.get("env", ())}
    for path in (path for path in TEXTS if path.suffix != ".md"):
        named |= set(re.findall(r"\b(?:VEILSTREAM|KAFKA)_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8")))
    assert started == {*STAGES, "trainer", "console"}
    ours = {name for name in named if name.startswith(("VEILSTREAM_", "KAFKA_"))}
    assert len(ours) > 5 and ours <= known


@pytest.mark.slow
def test_every_metric_of_the_manifests_is_defined() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "k8s").rglob("*.yaml")))
    named = set(re.findall(r"\bveilstream_[a-z0-9_]+", text))
    assert named and [name for name in named if name not in metrics() and re.sub("_(bucket|sum|count)$", "", name) not in metrics()] == []


def containers(part: object) -> list[dict[str, list[dict[str, str]]]]:
    """The containers of a resource, or of a patch of one."""
    if isinstance(part, dict):
        if isinstance(part.get("containers"), list):
            return [one for one in part["containers"] if isinstance(one, dict)]
        return [one for value in part.values() for one in containers(value)]
    return [one for value in part for one in containers(value)] if isinstance(part, list) else []
