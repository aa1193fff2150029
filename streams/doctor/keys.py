"""Whether the keys that a process needs are there, readable, nobody else's, and belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast, get_args

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams.doctor.findings import Finding, fault
from streams.doctor.scope import KeyNeed, keys_of, members
from streams.errors import ConfigurationError, VeilstreamError
from streams.privacy.key_folder import key_folder
from streams.privacy.key_types import KeyFolder
from streams.privacy.keys import (
    SIGNERS,
    Purpose,
    Stage,
    load_model_signing_key,
    load_model_verify_key,
    load_private_key,
    load_pseudonym_key,
    load_public_key,
    load_stage_signing_key,
    load_stage_verify_key,
    load_state_key,
)
from streams.privacy.moves import ingest_keys, moves_reader
from streams.privacy.state_keys import load_state_keys
from streams.settings import Settings

_MOVING = ("profile", "feedback")
"""Stages that read what joins old and new pseudonyms while a key is rotated."""


def check_keys(scope: str, settings: Settings) -> list[Finding]:
    """One finding for each key that is not as it should be; one for all where all are. Blocks, where keys are in Vault."""
    try:
        folder = key_folder(settings)
        needs = keys_of(scope, settings)
        there = [need for need in needs if (folder / need.name).exists()]
        if not there:
            what = f"none of the {len(needs)} keys that {_who(scope)} needs is in {folder}"
            fix = "make them with `veilstream keys generate`, or set VEILSTREAM_KEYS_DIR to where they are"
            return [Finding("keys", "fault", what, fix)]
        found = [finding for need in needs if (finding := _check(folder, need)) is not None]
        found += _together(folder, there, scope)
    except (VeilstreamError, OSError) as error:
        return [_told(error)]
    # One that can't be read is found twice: by itself, and with those that it belongs to.
    return list(dict.fromkeys(found)) or [Finding("keys", "ok", f"{len(needs)} key files of {_who(scope)} in {folder}")]


def is_sealed(settings: Settings) -> bool:
    """Whether there is a state key that can be read."""
    try:
        return load_state_keys(key_folder(settings)) is not None
    except (VeilstreamError, OSError):
        return True


def _who(scope: str) -> str:
    return "every stage" if scope == "all" else scope


def _check(folder: KeyFolder, need: KeyNeed) -> Finding | None:
    path = folder / need.name
    if need.why_optional and not path.exists():
        stem = need.name.partition(".")[0]
        what = f"{need.name} is not in {folder}: {need.why_optional}"
        return Finding("keys", "warning", what, f"add it with `veilstream keys generate --only {stem}`, or copy it from where it is")
    stem, _, half = need.name.rpartition(".")
    try:
        if stem == "pseudonym":
            load_pseudonym_key(path)
        elif stem == "state":
            load_state_key(path)
            load_state_keys(folder)
        elif half == "key":
            load_model_signing_key(path) if stem == "models" else load_stage_signing_key(path, cast("Stage", stem))
        elif stem == "models":
            load_model_verify_key(path)
        else:
            load_public_key(path, cast("Purpose", stem))
    except (VeilstreamError, OSError) as error:
        return _told(error)
    return None


def _together(folder: KeyFolder, there: Sequence[KeyNeed], scope: str) -> list[Finding]:
    """Halves of pairs that are both there, and the keys of a rotation."""
    found = []
    for stem in dict.fromkeys(need.name.rpartition(".")[0] for need in there):
        if stem in get_args(Purpose) and (folder / f"{stem}.key").exists() and (folder / f"{stem}.pub").exists():
            try:
                is_pair = _is_pair(folder, cast("Purpose", stem))
            except (VeilstreamError, OSError):
                continue  # what can't be read is named by itself, where it is needed
            if not is_pair:
                what = f"{stem}.key and {stem}.pub in {folder} do not belong together"
                found.append(Finding("keys", "fault", what, "copy both from one place"))
    loads: list[Callable[[KeyFolder], object]] = []
    if any(member in _MOVING for member in members(scope)):
        loads.append(moves_reader)
    if "pseudonym.key" in [need.name for need in there]:
        loads.append(ingest_keys)
    for load in loads:
        try:
            load(folder)
        except ConfigurationError as error:
            found.append(_told(error))
    return found


def _is_pair(folder: KeyFolder, stem: Purpose) -> bool:
    secret, public = folder / f"{stem}.key", folder / f"{stem}.pub"
    if stem == "models":
        return bytes(load_model_signing_key(secret).verify_key) == bytes(load_model_verify_key(public))
    if stem in SIGNERS:
        signing: SigningKey = load_stage_signing_key(secret, cast("Stage", stem))
        return bytes(signing.verify_key) == bytes(load_stage_verify_key(public, cast("Stage", stem)))
    private: PrivateKey = load_private_key(secret, stem)
    return bytes(private.public_key) == bytes(load_public_key(public, stem))


def _told(error: Exception) -> Finding:
    if isinstance(error, OSError):
        what = f"{error.filename or 'the keys'}: {error.strerror or type(error).__name__}"
        return Finding("keys", "fault", what, "check its owner and permissions")
    return fault("keys", str(error))
