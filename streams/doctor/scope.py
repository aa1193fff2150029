"""What a process needs: its keys, topics, rights and folders. Pure; the tables of stages, topics and rights say most of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streams.access.rights import Right, all_topics, changelog_of, data_keys_of, rights_of
from streams.app import STAGES
from streams.settings import Settings
from streams.topics import TopicSpec

ALL, TRAINER = "all", "trainer"
SCOPES = (*STAGES, TRAINER, ALL)
"""Whose needs can be checked. ``all`` is what `veilstream worker --stage all` needs, by one set of credentials."""

_MIB = 1 << 20
_SMALL, _ENCODING, _TRAINING = 256 * _MIB, 2560 * _MIB, 6144 * _MIB
"""Bytes of a process without a model (100 MiB at its start), with the multilingual one (1,780 MiB at its start), and of the trainer; with
some room for a shop."""


@dataclass(frozen=True, slots=True)
class KeyNeed:
    """One key file. ``why_optional`` says what is missed without it; empty: nothing starts without it."""

    name: str
    why_optional: str = ""


def members(scope: str) -> tuple[str, ...]:
    """The processes of a scope."""
    return tuple(STAGES) if scope == ALL else (scope,)


def keys_of(scope: str, settings: Settings) -> list[KeyNeed]:
    """The key files that the processes of a scope read, each once."""
    found: dict[str, KeyNeed] = {}
    for member in members(scope):
        for need in _keys_of(member, settings):
            if need.name not in found or found[need.name].why_optional:
                found[need.name] = need
    return list(found.values())


def _keys_of(member: str, settings: Settings) -> list[KeyNeed]:
    plain = "" if settings.seal_state != "auto" else "what is kept of shoppers lies on the disk and in changelogs as it is"
    if member == TRAINER:
        return [KeyNeed("models.key"), KeyNeed("models.pub"), KeyNeed("state.key", plain)]
    needs = [KeyNeed("recovery.pub"), KeyNeed(f"{member}.key")]
    if member == "ingest":
        needs += [KeyNeed("pseudonym.key"), KeyNeed("subscriber.pub")]
    if STAGES[member].uses_encoder:
        needs.append(KeyNeed("models.pub", "announced models are ignored, and VEILSTREAM_MODEL serves"))
    if STAGES[member].seals != "nothing":
        needs.append(KeyNeed("state.key", plain))
    return needs


def topics_of(scope: str, settings: Settings) -> list[TopicSpec]:
    """The topics that the processes of a scope read or write, names without prefix. Raises ConfigurationError as the stages do."""
    own = set(members(scope))
    return [spec for spec in all_topics(settings) if own & {*spec.readers, *spec.writers}]


def states_of(scope: str, settings: Settings) -> set[str]:
    """The topics that the stages of a scope make for what they keep, full names."""
    stages = [member for member in members(scope) if member in STAGES]
    return {name for stage in stages for of in (changelog_of, data_keys_of) if (name := of(stage, settings)) is not None}


def rights_needed(scope: str, settings: Settings, *, sealed: bool) -> list[Right]:
    """What the credentials must be allowed. ``sealed``: whether there is a state key, with which stages keep data keys in a topic."""
    rights: set[Right] = set()
    for member in members(scope):
        unused = None if sealed or member not in STAGES else data_keys_of(member, settings)
        rights |= {right for right in rights_of(member, settings) if right.name != unused}
    return sorted(rights)


def uses_model(scope: str) -> bool:
    """Whether a process of the scope encodes texts."""
    return any(member == TRAINER or STAGES[member].uses_encoder for member in members(scope))


def folders_of(scope: str, settings: Settings) -> dict[str, Path]:
    """The folders that its processes write to, by the setting that names each."""
    found: dict[str, Path] = {}
    stages = [member for member in members(scope) if member in STAGES]
    if stages:
        found["VEILSTREAM_STATE_DIR"] = settings.state_dir / stages[0] if scope != ALL else settings.state_dir
    if TRAINER in members(scope):
        found["VEILSTREAM_TRAINER_DIR"] = settings.trainer_dir
    if uses_model(scope):
        found["VEILSTREAM_MODELS_CACHE"] = settings.models_cache
    if settings.registry_url is not None:
        found["VEILSTREAM_REGISTRY_CACHE"] = settings.registry_cache
    return found


def memory_of(scope: str, settings: Settings) -> int:
    """Bytes that its processes want together, to begin with."""
    return sum(_memory_of(member, settings) for member in members(scope))


def _memory_of(member: str, settings: Settings) -> int:
    if member == TRAINER:
        return _TRAINING
    return _ENCODING if STAGES[member].uses_encoder and settings.model != "hashing" else _SMALL
