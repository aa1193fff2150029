"""Which processes read a setting: found in the code, by where it is used.

The room of a file says who runs it (``_ROOMS``); in ``streams/wiring/stages.py`` the method that makes a stage does. Who makes a
stage's rules reads the settings that they are made of.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from streams.app import STAGES
from streams.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TRAINER, COMMANDS = "trainer", "commands"
READERS = (*STAGES, TRAINER, COMMANDS)
"""In the order in which a page names them. ``commands``: all of ``veilstream`` but ``worker`` and ``trainer``."""
_WORKERS = frozenset(STAGES)
_ALL = frozenset(READERS)
_ENCODING = frozenset(name for name, spec in STAGES.items() if spec.uses_encoder)
_SEALING = frozenset(name for name, spec in STAGES.items() if spec.seals != "nothing")

_OF_COMMANDS = ("audit", "backtest", "console", "data_subjects", "doctor", "producers", "simulator")
_ROOMS: tuple[tuple[str, frozenset[str]], ...] = (
    *((f"streams/stages/{stage}/", frozenset({stage})) for stage in STAGES),
    ("streams/ranking/", frozenset({"profile"})),
    ("streams/engine/", _WORKERS),
    ("streams/wiring/models.py", _ENCODING),
    ("streams/wiring/state.py", _SEALING),
    ("streams/wiring/feature_check.py", frozenset({COMMANDS})),
    ("streams/wiring/", _WORKERS),
    ("streams/cli/worker.py", _WORKERS),
    ("streams/cli/trainer.py", frozenset({TRAINER})),
    ("streams/cli/", frozenset({COMMANDS})),
    ("streams/training/", frozenset({TRAINER})),
    ("streams/models/registry/", frozenset({TRAINER, COMMANDS})),
    ("streams/sources/", frozenset({"catalogue", COMMANDS})),
    ("streams/kafka/", frozenset({COMMANDS})),
    ("streams/audit/topic.py", _ALL),
    *((f"streams/{room}/", frozenset({COMMANDS})) for room in _OF_COMMANDS),
    *((f"streams/{room}/", _ALL) for room in ("access", "privacy", "serde")),
)
"""Who runs the code of a file: the first line that its path begins with."""
_RULES = "from_settings"
"""Makes a stage's rules of the settings. Who calls it reads them: the stage, and who replays it (the trainer's judging, a backtest)."""
_OF_ONE_STAGE = {"timestamp_step_ms": "ingest"}
"""Functions of the composition root that ask for the settings of one stage alone."""


def readers() -> Mapping[str, frozenset[str]]:
    """Of each product setting, by the name of its field, who reads it. Raises LookupError for a file that no room of the table holds."""
    found: dict[str, set[str]] = defaultdict(set)
    rules: dict[str, set[str]] = defaultdict(set)
    callers: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "streams").rglob("*.py")):
        for name, place in uses(path.read_text(encoding="utf-8")):
            rule, _, function = place.rpartition(".")
            if function == _RULES:
                rules[rule].add(name)
            elif name in _fields():
                found[name] |= who_runs(path.relative_to(ROOT).as_posix(), function)
            else:
                callers[name] |= who_runs(path.relative_to(ROOT).as_posix(), function)
    for rule, who in callers.items():
        for name in _settings_of(rule, rules):
            found[name] |= who
    return {name: frozenset(who) for name, who in found.items()}


def in_words(who: Iterable[str]) -> str:
    """
    >>> in_words({"commands", "ingest"}), in_words(READERS)
    ('`ingest`, commands', 'all')
    """
    found = set(who)
    if found >= _ALL:
        return "all"
    words = ["every stage"] if found >= _WORKERS else [f"`{stage}`" for stage in STAGES if stage in found]
    return ", ".join([*words, *(["`trainer`"] if TRAINER in found else []), *([COMMANDS] if COMMANDS in found else [])])


def who_runs(path: str, function: str) -> frozenset[str]:
    """The processes that run a function of a file, its path from the root."""
    stage = _OF_ONE_STAGE.get(function, function.removeprefix("_"))
    if path == "streams/wiring/stages.py" and stage in STAGES:
        return frozenset({stage})
    for room, who in _ROOMS:
        if path.startswith(room):
            return who
    raise LookupError(f"{path} reads a setting, and docs/generator/readers.py does not say who runs it: add its room to _ROOMS")


def uses(source: str) -> Iterator[tuple[str, str]]:
    """What a module reads, and where: settings, as ``settings.NAME``; and rules that are made of settings, as ``RULES.from_settings``.

    The place is ``Class.function``, without what there is not.

    >>> list(uses("class A:\\n    def f(self):\\n        return self.settings.top_k, B.from_settings(self.settings)"))
    [('top_k', 'A.f'), ('B', 'A.f')]
    """
    yield from _uses(ast.parse(source), "", "")


def _uses(node: ast.AST, owner: str, function: str) -> Iterator[tuple[str, str]]:
    place = f"{owner}.{function}".strip(".")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Attribute) and child.attr in _fields() and _is_settings(child.value):
            yield child.attr, place
        if isinstance(child, ast.Attribute) and child.attr == _RULES and isinstance(child.value, ast.Name):
            yield child.value.id, place
        if isinstance(child, ast.ClassDef):
            yield from _uses(child, child.name, "")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _uses(child, owner, child.name)
        else:
            yield from _uses(child, owner, function)


def _settings_of(rule: str, rules: Mapping[str, set[str]]) -> set[str]:
    """The settings that a set of rules is made of, and those of the rules inside it."""
    inner = (_settings_of(name, rules) for name in rules.get(rule, ()) if name not in _fields())
    return {name for name in rules.get(rule, ()) if name in _fields()}.union(*inner)


def _is_settings(value: ast.expr) -> bool:
    name = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
    return name.removeprefix("_") == "settings"


@cache
def _fields() -> frozenset[str]:
    return frozenset(Settings.model_fields)
