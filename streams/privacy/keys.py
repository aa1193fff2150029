"""Key files. A file has one key: one line that describes it, and one line of base64. Only the owner can read a secret.

The first line is ``veilstream <purpose> <key id or algorithm> <secret or public>``. So a file in the wrong place is detected. Pseudonym
keys have an id, and their pseudonyms begin with it. So several pseudonym keys can exist at the same time (``rotation``).
A file is read from a folder, or from where ``key_folder`` says: whatever reads a key takes a path or a ``KeySource``.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from nacl.public import PrivateKey, PublicKey
from nacl.signing import SigningKey, VerifyKey

from streams.errors import ConfigurationError
from streams.files import read_trusted
from streams.privacy.key_types import KeyFile, VerifyKeys
from streams.privacy.key_writing import ED25519, KEY_BYTES, X25519, making, write_key, write_pair

Stage = Literal["ingest", "catalogue", "profile", "feedback", "learning"]
Signer = Literal["models", "operators", Stage]
Purpose = Literal["pseudonym", "moves", "state", "subscriber", "recovery", Signer]

STAGES: tuple[Stage, ...] = get_args(Stage)
SIGNERS: tuple[Signer, ...] = ("models", "operators", *STAGES)
"""What has a key pair to sign with, the others have one to seal to."""

_MOST_BYTES = 4096
"""Of a key file, which has two short lines."""
_NAMED = ("pseudonym", "moves", "state")
"""Purposes whose files have an id in the place of an algorithm."""
RECORDS = "records"
"""What begins the line of a pseudonym key's file that holds the secret of ids of records."""
KEY_ID = re.compile(r"[A-Za-z0-9]{1,16}")
_FIX = "make keys with `veilstream keys generate`, or set VEILSTREAM_KEYS_DIR to where they are"


@dataclass(frozen=True, slots=True)
class PseudonymKey:
    """The secret of the pseudonyms and its short public name, which every pseudonym carries."""

    key_id: str
    secret: bytes = field(repr=False)
    records: bytes | None = field(default=None, repr=False)
    """The secret of ids of records, where it is that of an earlier key: what was written before a rotation is then still known. None: it
    follows from ``secret``."""


@dataclass(frozen=True, slots=True)
class MovesKey:
    """The secret of one rotation, which ingest and the stages share: it seals what they tell each other of old and new pseudonyms."""

    key_id: str
    """Of the pseudonym key that shoppers are moved to."""
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StateKey:
    """A secret that states are sealed with, and its short public name, which every sealed value carries."""

    key_id: str
    secret: bytes = field(repr=False)


class SecretKey(PrivateKey):
    """A private key whose string form does not show the key, unlike that of its parent class."""

    def __str__(self) -> str:
        return "<private key>"

    __repr__ = __str__


class ModelSigningKey(SigningKey):
    """The key that models are signed with; its text, unlike its parent's, does not hold it."""

    def __str__(self) -> str:
        return "<signing key>"

    __repr__ = __str__


class StageSigningKey(SigningKey):
    """The key that a stage signs with what only this stage may have made; as above."""

    def __str__(self) -> str:
        return "<signing key>"

    __repr__ = __str__


def generate_keys(folder: Path, *, key_id: str = "k1", overwrite: bool = False) -> list[Path]:
    """Write pseudonym.key, state.key, and a key pair each for subscriber, recovery, models, operators and every stage. Returns the paths.

    Raises ConfigurationError if one exists and ``overwrite`` is false. Without the old pseudonym key, old and new profiles can't be
    linked.
    """
    if not KEY_ID.fullmatch(key_id):
        raise ConfigurationError("a key id is 1 to 16 letters and digits of ASCII")
    _refuse_existing(folder, ("pseudonym.key", "state.key", *_pairs(("subscriber", "recovery", *SIGNERS))), overwrite)
    with making(folder):
        paths = [write_key(folder / "pseudonym.key", f"pseudonym {key_id} secret", secrets.token_bytes(KEY_BYTES), secret=True)]
        paths.append(_write_state_key(folder / "state.key", "s1"))
        for purpose in ("subscriber", "recovery"):
            private = PrivateKey.generate()
            paths += write_pair(folder, purpose, X25519, bytes(private), bytes(private.public_key))
        return paths + _write_signing_keys(folder, SIGNERS)


def generate_signing_keys(folder: Path, signers: Sequence[Signer], *, overwrite: bool = False) -> list[Path]:
    """Write only the key pairs of these, into a folder that may hold the others; returns the paths. Raises as above."""
    _refuse_existing(folder, _pairs(signers), overwrite)
    with making(folder):
        return _write_signing_keys(folder, signers)


def generate_state_key(folder: Path, *, key_id: str = "s1", overwrite: bool = False) -> list[Path]:
    """Write ``state.key``; where there is one already, ``state-<key id>.key`` beside it, which opens values but seals none yet. Returns
    the path. Raises ConfigurationError as above, and where a key of that id is there."""
    if not KEY_ID.fullmatch(key_id):
        raise ConfigurationError("a key id is 1 to 16 letters and digits of ASCII")
    current = folder / "state.key"
    with making(folder):
        if not current.exists() or overwrite:
            return [_write_state_key(current, key_id)]
        if load_state_key(current).key_id == key_id:
            raise ConfigurationError(f"{current} has the id {key_id} already; choose another with --key-id")
        _refuse_existing(folder, (f"state-{key_id}.key",), overwrite)
        return [_write_state_key(folder / f"state-{key_id}.key", key_id)]


def load_state_key(path: KeyFile) -> StateKey:
    """Raises ConfigurationError as ``load_pseudonym_key`` does."""
    return StateKey(*_read(path, "state", secret=True))


def load_pseudonym_key(path: KeyFile) -> PseudonymKey:
    """Raises ConfigurationError that names the file, what is wrong with it, and the fix."""
    key_id, secret, further = _read_all(path, "pseudonym", secret=True)
    for line in further:
        word, _, text = line.partition(" ")
        if word == RECORDS:
            return PseudonymKey(key_id, secret, _decoded(path, text))
    return PseudonymKey(key_id, secret)


def load_moves_key(path: KeyFile) -> MovesKey | None:
    """The key of the rotation that goes on; None where there is no such file, since none goes on. Raises ConfigurationError as above."""
    return MovesKey(*_read(path, "moves", secret=True)) if path.exists() else None


def load_public_key(path: KeyFile, purpose: Purpose) -> PublicKey:
    """Raises ConfigurationError as above."""
    return PublicKey(_read(path, purpose, secret=False)[1])


def load_ended_moves(path: KeyFile) -> frozenset[str]:
    """The ids of the keys of rotations that were ended; none where there is no such file. Raises ConfigurationError as above."""
    if not path.exists():
        return frozenset()
    try:
        ids = _content(path, secret=False).decode("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} can't be read ({type(error).__name__}); copy it from where `veilstream keys retire` ran"
        ) from None
    return frozenset(ids)


def load_private_key(path: KeyFile, purpose: Purpose) -> SecretKey:
    """Raises ConfigurationError as above."""
    return SecretKey(_read(path, purpose, secret=True)[1])


def load_private_keys(path: KeyFile, purpose: Purpose) -> list[SecretKey]:
    """The private key, and those that it replaced and that are kept beside it (``former_of``), newest first. Raises ConfigurationError as
    above."""
    return [load_private_key(path, purpose), *(load_private_key(one, purpose) for one in former_of(path))]


def load_model_signing_key(path: KeyFile) -> ModelSigningKey:
    """Raises ConfigurationError as above."""
    return ModelSigningKey(_read(path, "models", secret=True)[1])


def load_model_verify_key(path: KeyFile) -> VerifyKey:
    """Takes what the key signed, and what those signed that it replaced (``VerifyKeys``). Raises ConfigurationError as above."""
    return _verify_key(path, "models")


def load_stage_signing_key(path: KeyFile, stage: Stage | Literal["operators"]) -> StageSigningKey:
    """Of a stage, or of the people who run commands. Raises ConfigurationError as above."""
    return StageSigningKey(_read(path, stage, secret=True)[1])


def load_stage_verify_key(path: KeyFile, stage: Stage | Literal["operators"]) -> VerifyKey:
    """The other half. Raises ConfigurationError as above."""
    return _verify_key(path, stage)


def former_of(path: KeyFile) -> list[KeyFile]:
    """The file of the key that this one replaced, ``NAME.old.key`` beside ``NAME.key``, where it is there."""
    name, _, half = path.name.rpartition(".")
    old = path.with_name(f"{name}.old.{half}") if isinstance(path, Path) else path.sibling(f"{name}.old.{half}")
    return [old] if old.exists() else []


def _verify_key(path: KeyFile, purpose: Purpose) -> VerifyKey:
    key = _read(path, purpose, secret=False)[1]
    former = [_read(one, purpose, secret=False)[1] for one in former_of(path)]
    return VerifyKeys(key, former) if former else VerifyKey(key)


def _pairs(purposes: Sequence[Purpose]) -> list[str]:
    return [f"{purpose}.{half}" for purpose in purposes for half in ("key", "pub")]


def _refuse_existing(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    existing = [name for name in names if (folder / name).exists()]
    if existing and not overwrite:
        raise ConfigurationError(
            f"{folder} holds {', '.join(existing)} already; choose another folder, or --overwrite if nothing uses them"
        )


def _write_state_key(path: Path, key_id: str) -> Path:
    return write_key(path, f"state {key_id} secret", secrets.token_bytes(KEY_BYTES), secret=True)


def _write_signing_keys(folder: Path, signers: Sequence[Signer]) -> list[Path]:
    paths = []
    for signer in signers:
        signing = SigningKey.generate()
        paths += write_pair(folder, signer, ED25519, bytes(signing), bytes(signing.verify_key))
    return paths


def _fix_missing(purpose: Purpose) -> str:
    if purpose == "state":
        return "add it with `veilstream keys generate --only state`, or copy it from where the workers have theirs"
    if purpose not in SIGNERS:
        return _FIX
    where = {"models": "models are signed", "operators": "operators have theirs"}.get(purpose, f"{purpose} has its keys")
    return f"add it with `veilstream keys generate --only {purpose}`, or copy it from where {where}"


def _read(path: KeyFile, purpose: Purpose, *, secret: bool) -> tuple[str, bytes]:
    """The second word of what the file says it is, and the key."""
    return _read_all(path, purpose, secret=secret)[:2]


def _read_all(path: KeyFile, purpose: Purpose, *, secret: bool) -> tuple[str, bytes, list[str]]:
    """As ``_read``, and the lines after the key."""
    kind = "secret" if secret else "public"
    try:
        data = _content(path, secret=secret)
        lines = data.decode("ascii").splitlines()
    except FileNotFoundError:
        raise ConfigurationError(f"key file {path} is missing; {_fix_missing(purpose)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"key file {path} can't be read ({type(error).__name__}); {_FIX}") from None
    words = lines[0].split() if lines else []
    if words == ["veilstream", "wrapped"]:
        raise ConfigurationError(f"{path} is wrapped; set VEILSTREAM_KEYS to what unwraps it (docs/keys.md)")
    if len(words) != 4 or words[0] != "veilstream" or len(lines) < 2:
        raise ConfigurationError(f"{path} is not a key file of this product; {_FIX}")
    _, found_purpose, name, found_kind = words
    if (found_purpose, found_kind) != (purpose, kind):
        known = found_purpose in get_args(Purpose) and found_kind in ("secret", "public")
        what = f"a {found_kind} {found_purpose} key" if known else "some other key"
        raise ConfigurationError(f"{path} is {what}; a {kind} {purpose} key is needed there; {_FIX}")
    algorithm = ED25519 if purpose in SIGNERS else X25519
    if not (KEY_ID.fullmatch(name) if purpose in _NAMED else name == algorithm):
        raise ConfigurationError(f"{path} has a kind that this version does not know; {_FIX}")
    return name, _decoded(path, lines[1]), lines[2:]


def _content(path: KeyFile, *, secret: bool) -> bytes:
    if isinstance(path, Path):
        return read_trusted(path, _MOST_BYTES, "key file" if secret else "public key", secret=secret)
    return path.read_key(secret=secret)


def _decoded(path: KeyFile, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ConfigurationError(f"the key in {path} is not base64; {_FIX}") from None
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"the key in {path} has {len(key)} bytes instead of {KEY_BYTES}; {_FIX}")
    return key
