"""Rotation of keys: the files that a new key makes, and those that an old one leaves.

In an overlap the old key lies beside the new one as ``NAME.old.key`` or ``NAME.old.pub``. ``moves.key`` is there while shoppers are moved
from the old pseudonym key to the new one: ingest and the stages seal with it what names both pseudonyms of one shopper. When both files are
destroyed, nobody can compute the old pseudonyms any more, nor read what was sealed.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams.errors import ConfigurationError
from streams.files import overwrite
from streams.privacy.key_writing import ED25519, KEY_BYTES, X25519, making, write_key, write_pair
from streams.privacy.keys import KEY_ID, RECORDS, SIGNERS, Purpose, load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer

PSEUDONYM, OLD_PSEUDONYM, MOVES, ENDED = "pseudonym.key", "pseudonym.old.key", "moves.key", "moves.retired"
PAIRS: tuple[Purpose, ...] = ("subscriber", "recovery", *SIGNERS)
"""What has a key pair, and can be rotated alone."""


class Rotated(NamedTuple):
    """Key files that were written, and those that are the old ones now."""

    written: list[Path]
    old: list[Path]


def rotate_pseudonym_key(folder: Path, key_id: str | None = None) -> Rotated:
    """Make a new pseudonym.key, keep the old one as pseudonym.old.key, and make a moves.key. ``key_id``: None for the next one.

    Raises ConfigurationError where an overlap goes on, the key can't be read, or the id is none or that of the old key.
    """
    old = load_pseudonym_key(folder / PSEUDONYM)
    new_id = key_id or next_key_id(old.key_id)
    if not KEY_ID.fullmatch(new_id) or new_id == old.key_id:
        raise ConfigurationError(f"a new key id is 1 to 16 letters and digits of ASCII, and not {old.key_id}, which is the old one")
    _refuse_overlap(folder, [(PSEUDONYM, OLD_PSEUDONYM)])
    with making(folder):
        former = _keep(folder / PSEUDONYM, folder / OLD_PSEUDONYM)
        moves = write_key(folder / MOVES, f"moves {new_id} secret", secrets.token_bytes(KEY_BYTES), secret=True)
        records = f"{RECORDS} {base64.b64encode(Pseudonymizer(old).record_key).decode()}"
        new = secrets.token_bytes(KEY_BYTES)
        written = write_key(folder / PSEUDONYM, f"pseudonym {new_id} secret", new, secret=True, further=[records])
    return Rotated([written, moves], [former])


def rotate_pair(folder: Path, purpose: Purpose) -> Rotated:
    """Make a new key pair, and keep the old halves that are there as ``<purpose>.old.key`` and ``.old.pub``. Raises ConfigurationError
    where an overlap goes on."""
    if purpose not in PAIRS:
        raise ConfigurationError(f"{purpose} has no key pair; choose from: {', '.join(PAIRS)}")
    _refuse_overlap(folder, [(f"{purpose}.{half}", f"{purpose}.old.{half}") for half in ("key", "pub")])
    if not (folder / f"{purpose}.pub").exists():
        raise ConfigurationError(f"{folder} has no {purpose}.pub to replace; make the first pair with `veilstream keys generate`")
    with making(folder):
        halves = [half for half in ("key", "pub") if (folder / f"{purpose}.{half}").exists()]
        former = [_keep(folder / f"{purpose}.{half}", folder / f"{purpose}.old.{half}") for half in halves]
        if purpose in SIGNERS:
            signing = SigningKey.generate()
            written = write_pair(folder, purpose, ED25519, bytes(signing), bytes(signing.verify_key))
        else:
            private = PrivateKey.generate()
            written = write_pair(folder, purpose, X25519, bytes(private), bytes(private.public_key))
    return Rotated(written, former)


def destroy(paths: Sequence[Path]) -> list[Path]:
    """Overwrite and remove the files that are there; which these were. A copy elsewhere, and what a file system or a disk keeps of its own,
    is not reached. Raises ConfigurationError where one can't be removed."""
    gone = []
    for path in paths:
        if not path.is_file() or path.is_symlink():
            continue
        try:
            with path.open("r+b", buffering=0) as file:
                if os.fstat(file.fileno()).st_nlink > 1:
                    raise ConfigurationError(f"{path} has another name on this disk, under which it may be in use; remove that one first")
                overwrite(file)
            path.unlink()
        except OSError as error:
            raise ConfigurationError(f"{path} can't be destroyed ({error.strerror}); do it as its owner") from None
        gone.append(path)
    return gone


def note_ended(folder: Path, key_id: str) -> Path:
    """Tell the stages that the rotation to this key was ended: what they still meet of it is passed over. To be copied to them."""
    path = folder / ENDED
    ids = path.read_text(encoding="ascii").split() if path.exists() else []
    with making(folder):
        path.write_text("".join(f"{one}\n" for one in dict.fromkeys([*ids, key_id])), encoding="ascii")
        path.chmod(0o644)
    return path


def old_files(folder: Path, purpose: Purpose) -> list[Path]:
    """What of the old key is to be destroyed when the overlap of this purpose ends."""
    names = (OLD_PSEUDONYM, MOVES) if purpose == "pseudonym" else (f"{purpose}.old.key", f"{purpose}.old.pub")
    return [folder / name for name in names if (folder / name).exists()]


def next_key_id(key_id: str) -> str:
    """The id after this one: its number at the end is raised by one.

    >>> next_key_id("k1"), next_key_id("k9"), next_key_id("shop")
    ('k2', 'k10', 'shop2')
    """
    stem = key_id.rstrip("0123456789")
    number = key_id[len(stem) :]
    return f"{stem}{int(number) + 1 if number else 2}"


def _refuse_overlap(folder: Path, names: Sequence[tuple[str, str]]) -> None:
    """``names``: of each file, that of now and the old one. Where both are one file a rotation was cut short, and is done again."""
    there = [old for now, old in names if (folder / old).exists() and not _is_one_file(folder / now, folder / old)]
    if there:
        raise ConfigurationError(f"{folder} holds {', '.join(there)}: an overlap goes on; end it with `veilstream keys retire` first")


def _keep(path: Path, old: Path) -> Path:
    """The key under its old name; a link, so that at no moment a key is nowhere."""
    if not _is_one_file(path, old):
        os.link(path, old)
    return old


def _is_one_file(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)
