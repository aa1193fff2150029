"""Compiled code on disk is that of the generators as they are now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from numba.core import config

from encoders.kernels import compiling, float_tile, int16_tile
from encoders.kernels.compiling import cache_folder, fingerprint


def test_a_fingerprint_tells_generators_and_shapes_apart() -> None:
    assert fingerprint((float_tile,), 1) == fingerprint((float_tile,), 1)
    assert len({fingerprint((float_tile,), 1), fingerprint((int16_tile,), 1), fingerprint((float_tile,), 2)}) == 3


PROGRAM = """
import generator
from encoders.kernels.compiling import compiler
from program_kernels import use
print(use(1), [*use.stats.cache_hits.values()])
"""
KERNELS = """
import generator
from encoders.kernels.compiling import compiler
constant = generator.make()
@compiler((generator,), "shape")
def use(x):
    return constant(x)
"""
GENERATOR = """
from numba import njit
def make():
    @njit
    def constant(x):
        return x + NUMBER
    return constant
"""


@pytest.mark.slow
def test_a_changed_generator_is_compiled_anew(tmp_path: Path) -> None:
    """With numba's own cache, the second program would answer 11, as the kernels' file is the same."""
    (tmp_path / "program_kernels.py").write_text(KERNELS)
    answers = []
    for number in (10, 10, 20):
        (tmp_path / "generator.py").write_text(GENERATOR.replace("NUMBER", str(number)))
        done = subprocess.run(
            [
                sys.executable,
                "-B",
                "-c",
                f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(compiling.__file__).parents[1])!r}]\n{PROGRAM}",
            ],
            capture_output=True,
            text=True,
            check=True,
            env={"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        )
        answers.append(done.stdout.strip())
    assert answers == ["11 []", "11 [1]", "21 []"]


def test_where_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "numba"))
    assert cache_folder("abc") == tmp_path / "numba" / "compiled-abc"
    monkeypatch.setattr(config, "CACHE_DIR", "")
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "package" / "compiling.py"))
    assert cache_folder("abc") == tmp_path / "package" / "__pycache__" / "compiled-abc"
    # A file in the way, as a folder that nobody may write to would stop everybody but root.
    (tmp_path / "other").write_text("")
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "other" / "compiling.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder("abc") == tmp_path / "user" / "veilstream" / "compiled-abc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert cache_folder("abc") is None


def test_without_a_folder_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "cache_folder", lambda name: None)
    nothing = ModuleType("nothing")
    monkeypatch.setattr(compiling, "fingerprint", lambda generators, shape: "0")
    assert compiling.compiler((nothing,), None)(lambda x: x + 1)(2) == 3


def test_compiled_code_of_others_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    folder = cache_folder("abc")
    assert folder is not None and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert cache_folder("abc") is None
    folder.chmod(0o700)
    assert cache_folder("abc") == folder
    if os.geteuid() == 0:
        os.chown(folder, 4712, -1)
        assert cache_folder("abc") is None
