"""What keys are in a folder: what each is for, and whether it is the one in use or one of before. No secret is read that need not be."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, cast, get_args

from streams.errors import ConfigurationError
from streams.privacy.keys import (
    SIGNERS,
    Purpose,
    load_model_verify_key,
    load_moves_key,
    load_pseudonym_key,
    load_public_key,
    load_stage_verify_key,
    load_state_key,
)

_FURTHER_STATE = "state-"
"""Begins the names of state keys that only open."""

USES: dict[Purpose, tuple[str, str]] = {
    "pseudonym": ("ingest makes pseudonyms with it", ""),
    "moves": ("ingest, profile, feedback and the trainer seal with it what joins old and new pseudonyms", ""),
    "state": ("profile, feedback, learning and the trainer seal with it what they keep, and who answers shoppers opens it", ""),
    "subscriber": ("the service that must reach a person opens sealed ids with it", "ingest seals ids to it"),
    "recovery": ("the operator opens dead letters with it", "every stage seals dead letters to it"),
    "models": ("the trainer and who promotes models sign with it", "workers, and who verifies the audit, accept what it signed"),
    "operators": ("people who run commands sign the audit with it", "who verifies the audit accepts what it signed"),
    **{
        stage: (f"{stage} signs with it", f"who reads what {stage} signed accepts it")
        for stage in SIGNERS
        if stage not in ("models", "operators")
    },
}
"""By purpose, of the secret half and of the public one."""


class Listed(NamedTuple):
    """One key file. ``key_id`` is empty where it can't be read, and ``problem`` says why."""

    name: str
    key_id: str
    is_old: bool
    use: str
    problem: str = ""


def list_keys(folder: Path) -> Iterator[Listed]:
    """The key files of a folder, and of its ``former`` ones, by name."""
    for path in sorted(path for pattern in ("*.key", "*.pub", "former/*/*.pub") for path in folder.glob(pattern)):
        stem, _, half = path.name.rpartition(".")
        is_old = stem.endswith(".old") or path.parent != folder or stem.startswith(_FURTHER_STATE)
        purpose = "state" if stem.startswith(_FURTHER_STATE) else stem.removesuffix(".old")
        if purpose not in get_args(Purpose) and purpose not in USES:
            continue
        secret, public = USES[cast(Purpose, purpose)]
        name = str(path.relative_to(folder))
        try:
            yield Listed(name, _id(path, cast(Purpose, purpose), half), is_old, secret if half == "key" else public)
        except (ConfigurationError, OSError) as error:
            yield Listed(name, "", is_old, secret if half == "key" else public, str(error))


def public_id(path: Path, purpose: Purpose) -> str:
    """16 hexadecimal characters of the SHA-256 of a public key. Raises ConfigurationError."""
    if purpose == "models":
        key = bytes(load_model_verify_key(path))
    elif purpose in SIGNERS:
        key = bytes(load_stage_verify_key(path, purpose))
    else:
        key = bytes(load_public_key(path, purpose))
    return sha256(key).hexdigest()[:16]


def _id(path: Path, purpose: Purpose, half: str) -> str:
    if purpose == "pseudonym":
        return load_pseudonym_key(path).key_id
    if purpose == "state":
        return load_state_key(path).key_id
    if purpose == "moves":
        found = load_moves_key(path)
        return "" if found is None else found.key_id
    public = path.with_suffix(".pub")
    return public_id(public, purpose) if half == "pub" or public.exists() else ""
