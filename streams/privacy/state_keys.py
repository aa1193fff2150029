"""The state keys of a keys folder: ``state.key`` seals, and any number of ``state-<key id>.key`` beside it only open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import ConfigurationError
from streams.privacy.key_types import KeyFile, KeyFolder
from streams.privacy.keys import StateKey, load_state_key

CURRENT = "state.key"
_OTHER = "state-other.key"


@dataclass(frozen=True)
class StateKeys:
    """``current`` seals; ``by_id`` holds it and all others that open."""

    current: StateKey
    by_id: Mapping[bytes, StateKey]

    @classmethod
    def of(cls, current: StateKey, others: Sequence[StateKey] = ()) -> StateKeys:
        """Raises ConfigurationError where two different keys have one id."""
        by_id: dict[bytes, StateKey] = {}
        for key in (current, *others):
            if by_id.setdefault(key.key_id.encode(), key) != key:
                raise ConfigurationError(f"two different state keys have the id {key.key_id}; remove the wrong one from the keys folder")
        return cls(current, by_id)


def load_state_keys(folder: KeyFolder) -> StateKeys | None:
    """All state keys of a folder; None where there is no ``state.key``. Raises ConfigurationError as ``load_state_key`` does.

    Where the keys are no folder of files, which can't be listed, one further key is looked for, as ``state-other.key``.
    """
    current = folder / CURRENT
    if not current.exists():
        return None
    listed: list[KeyFile] = []
    if isinstance(folder, Path):
        listed += sorted(folder.glob("state-*.key"))
    elif (folder / _OTHER).exists():
        listed.append(folder / _OTHER)
    return StateKeys.of(load_state_key(current), [load_state_key(path) for path in listed])


def use_state_key(folder: Path, key_id: str) -> None:
    """Make ``state-<key id>.key`` the one that seals; the one before goes on opening. Raises ConfigurationError if it is missing.

    At every moment both keys are there, under one name or two.
    """
    following, current = folder / f"state-{key_id}.key", folder / CURRENT
    load_state_key(following)
    before = folder / f"state-{load_state_key(current).key_id}.key"
    try:
        if not before.exists():
            before.hardlink_to(current)
        following.replace(current)
    except OSError as error:
        raise ConfigurationError(f"the keys of {folder} can't be exchanged ({error.strerror}); check its permissions") from None
