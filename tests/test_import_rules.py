"""The import rules of docs/architecture.md, and what importing and starting may cost."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams.broker.embedded import EmbeddedBroker
from tests.support import ROOT
from tests.support.deployment import Deployment, deployed
from tests.support.waiting import wait_until

PURE = (
    *("stages", "stages/ingest", "stages/catalogue", "stages/profile", "stages/feedback", "stages/learning"),
    *("ranking", "training/evaluation"),
)
"""Folders of rules: a function of their arguments, and nothing else."""
FOREIGN = {"faust", "mode", "aiokafka", "torch", "transformers", "encoders", "asyncio", "threading", "subprocess", "socket", "urllib"}
UNREPEATABLE = {"time", "os", "random", "secrets", "uuid", "pydantic", "pydantic_settings", "logging"}
CLOCK_CALLS = {"now", "utcnow", "today", "fromtimestamp"}
MATHEMATICS = {"encoders.item_space", "encoders.kernels.pair_sums", "encoders.kernels.slate", "encoders.kernels"}
"""Functions of arrays alone, used by serving, evaluation and training alike."""
PURE_MAY_IMPORT = (
    *(
        "streams.serde",
        "streams.privacy",
        "streams.sources",
        "streams.errors",
        "streams.topics",
        "streams.clock",
        "streams.visible_text",
        "streams.dead_letters.letters",
        "streams.audit.actions",
        "streams.audit.trail",
        "streams.privacy.consent",
    ),
    *("streams.engine.records", "streams.engine.ports", "streams.engine.handler", "streams.stages", "streams.ranking"),
    *("streams.models.hotswap.serving_model", "streams.models.hotswap.active_encoders", "streams.training.evaluation"),
)
GROUND = {
    *("streams.errors", "streams.topics", "streams.clock", "streams.backoff", "streams.settings", "streams.visible_text"),
    "streams.files",
}
"""What every room may use."""
FLOW = "streams.app"
ROOMS: dict[str, set[str]] = {
    "schemas": set(),
    "encoders.kernels": set(),
    "encoders.engines": {"encoders.kernels"},
    "encoders.nearest": {"encoders.engines", "encoders.kernels"},
    "encoders.batching": {"encoders.engines"},
    "encoders.finetune": {"encoders.engines"},
    "streams.settings": set(),
    "streams.kafka": set(),
    "streams.serde": {"schemas"},
    "streams.access": {"streams.kafka", FLOW},
    "streams.privacy": set(),
    "streams.broker": {"encoders.errors"},
    "streams.engine": set(),
    "streams.engine.kafka": {"streams.engine", "streams.kafka"},
    "streams.engine.faust": {"streams.engine", "streams.kafka"},
    "streams.atrest": {"streams.engine", "streams.privacy"},
    "streams.audit": {FLOW, "streams.engine", "streams.kafka", "streams.privacy", "streams.serde"},
    "streams.data_subjects": {
        *("streams.app", "streams.atrest", "streams.kafka", "streams.privacy", "streams.serde", "streams.stages"),
        *("streams.stages.profile", "streams.stages.feedback"),
    },
    "streams.dead_letters": {"streams.engine", "streams.kafka", "streams.privacy", "streams.serde", "streams.sources"},
    "streams.ranking": {"streams.engine", "streams.ranking.slate", "streams.serde", *MATHEMATICS},
    "streams.ranking.slate": set(),
    "streams.ranking.learned": {"streams.engine", "streams.ranking", "streams.serde", *MATHEMATICS},
    "streams.training.learned": {
        *("streams.engine", "streams.ranking", "streams.ranking.learned", "streams.serde", "streams.stages.profile"),
        *("streams.training.evaluation", *MATHEMATICS),
    },
    "streams.models": set(),
    "streams.models.registry": {
        "streams.kafka",
        "streams.privacy",
        "streams.ranking",
        "streams.ranking.learned",
        "streams.serde",
        "encoders.folder",
    },
    "streams.models.hotswap": {
        *("streams.engine", "streams.models.registry", "streams.ranking", "streams.ranking.learned", "streams.serde", "encoders.threads")
    },
    "streams.stages": {"streams.engine", "streams.privacy", "streams.serde"},
    "streams.sources": {"streams.serde", "streams.stages"},
    "streams.stages.ingest": {
        *("streams.dead_letters", "streams.engine", "streams.privacy", "streams.serde", "streams.sources", "streams.stages"),
    },
    "streams.stages.catalogue": {
        *("streams.engine", "streams.models.hotswap", "streams.ranking", "streams.serde", "streams.sources", "streams.stages"),
    },
    "streams.stages.profile": {
        *("streams.audit", "streams.engine", "streams.models.hotswap", "streams.privacy", "streams.ranking", "streams.ranking.learned"),
        *("streams.serde", "streams.stages"),
    },
    "streams.stages.feedback": {"streams.audit", "streams.engine", "streams.privacy", "streams.serde", "streams.stages"},
    "streams.stages.learning": {"streams.engine", "streams.serde"},
    "streams.training.evaluation": {"streams.engine", "streams.ranking", "streams.ranking.learned", "streams.serde", *MATHEMATICS},
    "streams.training": {
        *("streams.engine", "streams.kafka", "streams.models.registry", "streams.privacy", "streams.ranking", "streams.serde"),
        *("streams.atrest", "streams.audit"),
        *(
            "streams.sources",
            "streams.stages.catalogue",
            "streams.stages.profile",
            "streams.training.evaluation",
            "streams.training.learned",
            "streams.ranking.learned",
            "encoders",
            "encoders.finetune",
            "encoders.folder",
        ),
    },
    "streams.console": {
        *(FLOW, "streams.audit", "streams.engine", "streams.kafka", "streams.models.registry", "streams.privacy", "streams.serde"),
        "streams.sources",
    },
    "streams.doctor": {
        *(FLOW, "streams.access", "streams.kafka", "streams.models.registry", "streams.privacy", "streams.serde"),
        *("encoders.bundled", "encoders.errors", "encoders.folder"),
    },
    "streams.producers": {"streams.kafka", "streams.privacy", "streams.serde", "streams.sources", "streams.stages"},
}
"""Each room, and the rooms it may use. Whoever puts rooms together (``wiring``, ``cli``, ``simulator``, ``backtest``) may use all, and is
used by none of them."""
TOGETHER = {"streams.wiring", "streams.cli", "streams.simulator", "streams.backtest"}


def modules(*folders: str) -> list[Path]:
    found = sorted({path for folder in folders for path in (ROOT / folder).rglob("*.py")})
    assert found
    return found


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of every import that runs: those for type checkers only are left out."""
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)


def violations(source: str) -> list[str]:
    """What in a pure module's source breaks the rules."""
    tree = ast.parse(source)
    found = []
    for module, name in imports(tree):
        top = module.split(".")[0]
        if module in MATHEMATICS:
            continue
        if top in FOREIGN | UNREPEATABLE:
            found.append(f"imports {module}")
        if top == "streams" and not f"{module}.{name}.".startswith(tuple(f"{allowed}." for allowed in PURE_MAY_IMPORT)):
            found.append(f"imports {module}")
        if (module, name) == ("streams.clock", "SystemClock"):
            found.append("makes a clock of its own")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS:
            on = node.func.value
            if isinstance(on, (ast.Name, ast.Attribute)) and (on.id if isinstance(on, ast.Name) else on.attr) in ("datetime", "date"):
                found.append(f"calls {node.func.attr}()")
        if isinstance(node, ast.Global):
            found.append(f"changes global {', '.join(node.names)}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "print", "input", "eval", "exec"):
            found.append(f"calls {node.func.id}()")
    return found


@pytest.mark.parametrize("path", modules(*(f"streams/{folder}" for folder in PURE)), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_rules_are_pure(path: Path) -> None:
    assert violations(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "def f():\n    import torch",
        "from faust import App",
        "import os.path",
        "from streams.engine.runner import BatchRunner",
        "from streams.settings import Settings",
        "from streams import app",
        "from streams.clock import SystemClock",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import date\ndate.today()",
        "def f():\n    global x\n    x = 1",
        "open('x')",
    ],
)
def test_the_check_finds_what_is_forbidden(source: str) -> None:
    assert violations(source)


def test_the_check_allows_what_is_allowed() -> None:
    imported = "from typing import TYPE_CHECKING\nfrom streams.serde.records import Item\n"
    assert violations(imported + "if TYPE_CHECKING:\n    from streams.settings import Settings") == []


def room_of(module: str) -> str:
    """The folder of a module; a package is its own. Modules at the top of ``streams`` and ``encoders`` are rooms by themselves."""
    path = ROOT / module.replace(".", "/")
    folder = module if path.is_dir() else module.rpartition(".")[0]
    return module if folder in ("streams", "encoders") else folder


@functools.cache
def uses() -> dict[str, dict[str, str]]:
    """Of each room: the rooms that it imports from, and one import that shows it."""
    found: dict[str, dict[str, str]] = {}
    for path in modules("schemas", "encoders", "streams"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        own = found.setdefault(room_of(name), {})
        for module, imported in imports(ast.parse(path.read_text())):
            if module.split(".")[0] in ("schemas", "encoders", "streams"):
                whole = f"{module}.{imported}"
                is_module = (ROOT / whole.replace(".", "/")).with_suffix(".py").is_file()
                room = room_of(whole if is_module else module)
                if room != room_of(name):
                    own[room] = f"{name} imports {module}"
    return found


def test_every_room_uses_only_what_it_may() -> None:
    found = []
    for room, used in uses().items():
        if room in TOGETHER or room in ("streams", "encoders") or not (ROOT / room.replace(".", "/")).is_dir():
            continue
        assert room in ROOMS, f"{room} is new: say in ROOMS what it may use, and in docs/architecture.md what it is for"
        ground = GROUND if room.startswith("streams") else {f"encoders.{path.stem}" for path in (ROOT / "encoders").glob("*.py")}
        found += [shown for other, shown in used.items() if other not in ROOMS[room] | ground]
    assert found == []


def test_nobody_uses_what_puts_rooms_together() -> None:
    assert [shown for room, used in uses().items() if room not in TOGETHER for other, shown in used.items() if other in TOGETHER] == []


def test_there_is_no_circle() -> None:
    left = {room: set(used) for room, used in uses().items()}
    while free := [room for room, used in left.items() if not used & left.keys()]:
        for room in free:
            del left[room]
    assert left == {}


def test_stages_do_not_know_each_other() -> None:
    found = []
    for room, used in uses().items():
        if room.startswith("streams.stages."):
            found += [shown for other, shown in used.items() if other.startswith("streams.stages.")]
    assert found == []


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("schemas", {"faust", "aiokafka", "torch"}),
        ("encoders", {"faust", "aiokafka"}),
        ("streams/kafka", {"faust", "torch"}),
        ("streams/serde", {"faust", "aiokafka", "torch"}),
        ("streams/privacy", {"faust", "aiokafka", "torch", "time"}),
        ("streams/engine", {"torch", "transformers"}),
        ("streams/ranking", {"faust", "aiokafka", "torch"}),
        ("streams/models", {"torch", "transformers", "faust"}),
    ],
)
def test_folders_keep_to_their_own_libraries(folder: str, forbidden: set[str]) -> None:
    found = []
    for path in modules(folder):
        for module, _ in imports(ast.parse(path.read_text())):
            if module.split(".")[0] in forbidden:
                found.append(f"{path.name} imports {module}")
    assert found == []


def test_the_engine_knows_neither_faust_nor_its_own_adapters() -> None:
    """Only engine/faust imports Faust; what is in the engine itself imports no folder below it, so there is no circle."""
    found = []
    for path in modules("streams"):
        folder = path.parent.relative_to(ROOT / "streams").as_posix()
        for module, name in imports(ast.parse(path.read_text())):
            full = f"{module}.{name}."
            if module.split(".")[0] in ("faust", "mode") and folder != "engine/faust":
                found.append(f"{folder}/{path.name} imports {module}")
            if folder == "engine" and full.startswith(("streams.engine.faust.", "streams.engine.kafka.")):
                found.append(f"{folder}/{path.name} imports {module}")
            if folder == "engine/kafka" and full.startswith("streams.engine.faust."):
                found.append(f"{folder}/{path.name} imports {module}")
    assert found == []


IMPORT_EVERYTHING = """
import gc, importlib, json, os, pkgutil, sys, threading
done = []
def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess", "os.system", "os.mkdir", "os.remove")):
        done.append(event)
    if event == "open" and isinstance(arguments[0], str):
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and "__pycache__" not in path or path.endswith((".avsc", ".key", ".csv")):
            done.append(f"open {path}")
sys.path.insert(0, ROOT)
import encoders, schemas, streams
import asyncio, click, faust, fastavro, rocksdict, uvloop  # what these do is theirs
import faust.transport.drivers.aiokafka, faust.transport.consumer
sys.addaudithook(watch)
names = [m.name for package in (streams, schemas) for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
apps = [repr(type(found)) for found in gc.get_objects() if isinstance(found, faust.App)]
print(json.dumps({"names": names, "done": done, "apps": apps, "threads": threading.active_count(),
                  "heavy": sorted({"torch", "transformers", "matplotlib"} & set(sys.modules))}))
"""


def test_importing_everything_does_nothing() -> None:
    """No file written or data file read, no connection, no thread, no Faust app, no torch."""
    script = IMPORT_EVERYTHING.replace("ROOT", repr(str(ROOT)))
    done = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    assert {"streams.app", "streams.cli.worker", "streams.stages.profile.stage"} <= set(printed.pop("names"))
    assert printed == {"done": [], "apps": [], "threads": 1, "heavy": []}


def test_help_is_quick_and_imports_little() -> None:
    """The best of five; `veilstream --help` takes no longer than three times what Python with click takes to begin."""
    command = [sys.executable, "-X", "importtime", "-m", "streams.cli.main", "--help"]
    bare = [sys.executable, "-X", "importtime", "-c", "import click"]
    help_s, bare_s = [], []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run(bare, capture_output=True, text=True, check=True, cwd=ROOT)
        bare_s.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        help_s.append(time.perf_counter() - begin)
        imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}
        assert "click" in imported
        assert not imported & {"torch", "transformers", "faust", "aiokafka", "pydantic", "numpy", "fastavro", "encoders"}
        assert "worker" in done.stdout
    assert min(help_s) < 3 * min(bare_s)


@pytest.mark.slow
def test_workers_without_a_model_are_small(tmp_path: Path) -> None:
    """Ingest and feedback, each after some thousand events: no torch, under 250 MB resident."""
    count = 6000
    rows = [f"2024-05-01T10:{i // 60 % 60:02}:{i % 60:02}Z,u{i % 700},view,item-{i % 300}\n" for i in range(count)]
    (tmp_path / "events.csv").write_text("ts,user,event_type,item\n" + "".join(rows))
    with (
        EmbeddedBroker() as broker,
        deployed(tmp_path / "d", broker.bootstrap_servers, "", VEILSTREAM_IDEMPOTENT_PRODUCER="false") as deployment,
    ):
        deployment.start("ingest", "feedback")
        deployment.command("replay", "--events", str(tmp_path / "events.csv"), "--as-fast-as-possible")
        for stage in ("ingest", "feedback"):
            wait_for_records(deployment, stage, count)
            worker = psutil.Process(deployment.processes[stage].pid)
            assert worker.memory_info().rss < 250e6
            if hasattr(worker, "memory_maps"):
                assert not [found.path for found in worker.memory_maps() if "torch" in found.path]
        assert deployment.stop() == {"ingest": 0, "feedback": 0}


def wait_for_records(deployment: Deployment, stage: str, count: int) -> None:
    """By the worker's own count: the embedded broker is slow to tell the ends of its partitions."""
    line = f'veilstream_records_total{{stage="{stage}"}} {count}.0'
    wait_until(lambda: line in deployment.metrics(stage), lambda: deployment.log(stage).read_text()[-2000:])
