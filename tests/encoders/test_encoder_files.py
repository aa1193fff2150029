"""Files that others may have a hand in: read within a limit, and written where no link leads elsewhere."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from encoders.errors import UnusableError
from encoders.files import TEXT_BYTES, is_own, read_within, replace_file, replacing
from encoders.folder import read_json


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_within(path, 5) == b"12345"
    with pytest.raises(OSError, match="File too large") as raised:
        read_within(path, 4)
    assert raised.value.errno == errno.EFBIG


def test_a_model_s_json_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert read_json(path, dict) == {}
    path.write_text('{"hidden_size": 4}')
    assert read_json(path, dict) == {"hidden_size": 4}
    os.truncate(path, TEXT_BYTES + 1)
    with pytest.raises(UnusableError, match="File too large"):
        read_json(path, dict)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(UnusableError, match="is no JSON"):
        read_json(path, dict)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    assert path.read_bytes() == b"one" and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half of")
        raise RuntimeError
    assert path.read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == ["file"], "nothing is left"


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("precious")
    path.symlink_to(victim)
    for name in (".file.part", "file.part", "file.tmp"):
        (tmp_path / name).symlink_to(victim)
    replace_file(path, b"mine")
    assert victim.read_text() == "precious"
    assert not path.is_symlink() and path.read_bytes() == b"mine"


def test_a_name_that_is_taken_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if somebody guessed it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("encoders.files.secrets.token_hex", lambda size: "guessed")
    (tmp_path / ".file.guessed.part").symlink_to(victim)
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "file", b"mine")
    assert victim.read_text() == "precious" and not (tmp_path / "file").exists()


@pytest.mark.parametrize(("uid", "mode", "own"), [(0, 0o755, True), (0, 0o777, False), (4711, 0o700, True), (4712, 0o700, False)])
def test_whose_a_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, mode: int, own: bool) -> None:
    class Status:
        st_uid, st_mode = uid, mode

    monkeypatch.setattr("encoders.files.os.geteuid", lambda: 4711)
    monkeypatch.setattr(Path, "stat", lambda self, **_: Status)
    found = is_own(tmp_path)
    monkeypatch.undo()
    assert found == own
