"""Whenever a rotation, or the wrapping of keys, is cut short: no key is lost, and doing it again ends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.privacy import key_folder, rotation
from streams.privacy.key_folder import WRAPPED, wrap_files
from streams.privacy.keys import generate_keys, load_moves_key, load_pseudonym_key
from streams.privacy.rotation import destroy, old_files, rotate_pair, rotate_pseudonym_key


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_rotation_that_was_cut_short_is_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    first = load_pseudonym_key(folder / "pseudonym.key")
    count = 0

    def killed(*arguments: object, **more: object) -> Path:
        nonlocal count
        count += 1
        if count > step:
            raise Killed
        return real(*arguments, **more)  # type: ignore[arg-type]

    real = rotation.write_key
    monkeypatch.setattr(rotation, "write_key", killed)
    if step < 2:
        with pytest.raises(Killed):
            rotate_pseudonym_key(folder)
        assert load_pseudonym_key(folder / "pseudonym.key") == first, "nothing has changed for anybody"
        with pytest.raises(ConfigurationError, match="another name on this disk"):
            destroy(old_files(folder, "pseudonym"))
        assert load_pseudonym_key(folder / "pseudonym.key") == first, "what is in use is not destroyed"
    monkeypatch.setattr(rotation, "write_key", real)
    rotate_pseudonym_key(folder)
    assert load_pseudonym_key(folder / "pseudonym.old.key") == first
    now, moves = load_pseudonym_key(folder / "pseudonym.key"), load_moves_key(folder / "moves.key")
    assert moves is not None and now.key_id == moves.key_id == "k2" and now.records is not None
    with pytest.raises(ConfigurationError, match="an overlap goes on"):
        rotate_pseudonym_key(folder)
    destroy(old_files(folder, "pseudonym"))
    assert load_pseudonym_key(folder / "pseudonym.key") == now and not (folder / "pseudonym.old.key").exists()


def test_a_pair_whose_rotation_was_cut_short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "recovery.pub").read_bytes()

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(rotation, "write_pair", killed)
    with pytest.raises(Killed):
        rotate_pair(folder, "recovery")
    monkeypatch.undo()
    rotate_pair(folder, "recovery")
    assert (folder / "recovery.old.pub").read_bytes() == before != (folder / "recovery.pub").read_bytes()


class Reverser:
    """A KeyWrapper."""

    def wrap(self, content: bytes, /) -> bytes:
        return content[::-1].hex().encode()

    def unwrap(self, wrapped: bytes, /) -> bytes:
        return bytes.fromhex(wrapped.decode())[::-1]


def test_wrapping_that_is_cut_short_loses_no_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*.key")}

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(key_folder, "overwrite", killed)
    with pytest.raises(Killed):
        wrap_files(folder, Reverser())
    monkeypatch.undo()
    wrap_files(folder, Reverser())
    for name, content in before.items():
        wrapped = (folder / name).read_bytes()
        assert wrapped.startswith(WRAPPED) and Reverser().unwrap(wrapped.removeprefix(WRAPPED).strip()) == content


def test_the_blocks_of_a_file_in_the_clear_are_written_over(folder: Path) -> None:
    path = folder / "recovery.key"
    content = path.read_bytes()
    os.link(path, folder / "seen")  # what would be left on the disk
    wrap_files(folder, Reverser())
    assert (folder / "seen").read_bytes() == bytes(len(content))
