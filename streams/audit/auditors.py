"""Who writes to the audit, and with which key: every stage with its own, the trainer with that of models, people with operators.key."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast, get_args

from nacl.signing import SigningKey, VerifyKey

from streams.errors import ConfigurationError
from streams.privacy.key_types import KeyFile, KeyFolder
from streams.privacy.keys import (
    Stage,
    load_model_signing_key,
    load_model_verify_key,
    load_stage_signing_key,
    load_stage_verify_key,
)

Auditor = Literal["trainer", "operators", Stage]
AUDITORS: tuple[Auditor, ...] = get_args(Auditor)


def key_name(auditor: str) -> str:
    """The name of its key files, without ``.key`` and ``.pub``."""
    return "models" if auditor == "trainer" else auditor


def signing_key(folder: KeyFolder, auditor: Auditor) -> SigningKey:
    """Raises ConfigurationError that names the file, what is wrong with it, and the fix."""
    path = folder / f"{key_name(auditor)}.key"
    if auditor == "trainer":
        return load_model_signing_key(path)
    return load_stage_signing_key(path, auditor)


def verify_keys(folders: Sequence[KeyFolder]) -> dict[str, list[VerifyKey]]:
    """As ``known_keys``. Raises ConfigurationError where there is none at all, too."""
    found = known_keys(folders)
    if not found:
        names = ", ".join(f"{key_name(auditor)}.pub" for auditor in AUDITORS)
        raise ConfigurationError(
            f"no public key is in {', '.join(map(str, folders))}, so no link can be verified; copy {names} there from where the keys are"
        )
    return found


def known_keys(folders: Sequence[KeyFolder]) -> dict[str, list[VerifyKey]]:
    """The public keys that are there, by who signs with them, from all folders: those of now, and those that were replaced, in ``former``.
    Raises ConfigurationError for a file that can't be used."""
    found: dict[str, list[VerifyKey]] = {}
    for folder in folders:
        for auditor in AUDITORS:
            found |= {auditor: one} if (one := [*found.get(auditor, []), *_former(folder, auditor)]) else {}
            path = folder / f"{key_name(auditor)}.pub"
            if not path.exists():
                continue
            key = _verify_key(path, auditor)
            if key not in found.setdefault(auditor, []):
                found[auditor].append(key)
    return found


def _former(folder: KeyFolder, auditor: Auditor) -> list[VerifyKey]:
    """What `veilstream keys retire` keeps."""
    if not isinstance(folder, Path):
        return []
    return [_verify_key(path, auditor) for path in sorted(folder.glob(f"former/*/{key_name(auditor)}.pub"))]


def _verify_key(path: KeyFile, auditor: Auditor) -> VerifyKey:
    return load_model_verify_key(path) if auditor == "trainer" else load_stage_verify_key(path, cast("Stage", auditor))


def key_id(public: bytes) -> str:
    """The short name of a public key: 16 hexadecimal characters of its SHA-256."""
    return sha256(public).hexdigest()[:16]
