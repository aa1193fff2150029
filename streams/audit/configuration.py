"""What a process runs with, as details of a link: no value, only hashes of what is no secret, and names of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

from pydantic_settings import BaseSettings

from streams.app import STAGES
from streams.audit.auditors import Auditor, key_id, key_name, signing_key
from streams.privacy.key_types import KeyFolder
from streams.privacy.keys import Stage, load_model_verify_key, load_moves_key, load_pseudonym_key, load_public_key
from streams.privacy.state_keys import load_state_keys
from streams.visible_text import without_secrets

SETTING = "setting "
KEY = "key "
_MAY_BE_SECRET = frozenset({"registry_headers"})
_MOVING: tuple[Stage, ...] = ("ingest", "profile", "feedback")
_PUBLIC: Mapping[Stage, Sequence[Literal["subscriber", "recovery", "models"]]] = {
    "ingest": ("subscriber", "recovery"),
    "catalogue": ("recovery", "models"),
    "profile": ("recovery", "models"),
    "feedback": ("recovery",),
    "learning": ("recovery",),
}


def settings_details(*sources: BaseSettings) -> dict[str, str]:
    """``settings``: one hash of all names and values; and of each setting that has not its default, a hash of its own.

    Of an address no user, password, query or fragment is hashed, and of headers nothing: a short secret could be guessed from its hash.
    """
    values: dict[str, str] = {}
    changed: dict[str, str] = {}
    for settings in sources:
        prefix = str(settings.model_config.get("env_prefix", ""))
        for name, field in type(settings).model_fields.items():
            value = getattr(settings, name)
            if name in _MAY_BE_SECRET:
                continue
            variable = f"{prefix}{name}".upper()
            values[variable] = without_secrets(str(value))
            if value != field.default:
                changed[f"{SETTING}{variable}"] = _short(values[variable])
    whole = "".join(f"{name}={value}\n" for name, value in sorted(values.items()))
    return {"settings": sha256(whole.encode()).hexdigest(), **dict(sorted(changed.items()))}


def keys_details(folder: KeyFolder, stage: Stage) -> dict[str, str]:
    """The ids of the keys that a worker of the stage uses. Raises ConfigurationError if one that it needs is missing."""
    found: dict[str, str] = {stage: key_id(bytes(signing_key(folder, stage).verify_key))}
    if stage == "ingest":
        found["pseudonym"] = load_pseudonym_key(folder / "pseudonym.key").key_id
        former = folder / "pseudonym.old.key"
        if former.exists():
            found["pseudonym.old"] = load_pseudonym_key(former).key_id
    moves = load_moves_key(folder / "moves.key") if stage in _MOVING else None
    if moves is not None:
        found["moves"] = moves.key_id
    if STAGES[stage].seals != "nothing" and (keys := load_state_keys(folder)) is not None:
        found["state"] = keys.current.key_id
    for name in _PUBLIC[stage]:
        path = folder / f"{name}.pub"
        if name == "models" and not path.exists():
            continue  # a worker with the model that it came with needs none
        found[name] = key_id(bytes(load_model_verify_key(path) if name == "models" else load_public_key(path, name)))
    return {f"{KEY}{name}": id_ for name, id_ in found.items()}


def own_key_details(folder: KeyFolder, auditor: Auditor) -> dict[str, str]:
    """The id of the key that a command or the trainer signs with."""
    return {f"{KEY}{key_name(auditor)}": key_id(bytes(signing_key(folder, auditor).verify_key))}


def _short(value: str) -> str:
    return sha256(value.encode()).hexdigest()[:16]
