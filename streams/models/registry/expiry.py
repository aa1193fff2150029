"""Which versions of a store, and which fetched copies, are kept no longer."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

from nacl.signing import VerifyKey

from streams.errors import ModelRefused
from streams.models.registry.channels import Channels
from streams.models.registry.manifest import Manifest, is_version
from streams.models.registry.scratch import discard
from streams.models.registry.store import ModelStore

_CACHED_DAYS = 30.0
"""A copy that nobody fetched or verified for so long is fetched again if it is needed."""
_DAY_S = 86_400.0


def expired(manifests: Iterable[Manifest], served: Collection[str], *, keep: int, before_ms: int) -> list[str]:
    """The versions that can go, the oldest first: made before ``before_ms``, not among the ``keep`` newest, and neither served nor the
    parent of what is, to which one can go back."""
    newest_first = sorted(manifests, key=lambda one: (one.created_at, one.model_version), reverse=True)
    needed = {*served, *(one.parent for one in newest_first if one.model_version in served)}
    old = [one for one in newest_first[keep:] if one.created_at < before_ms and one.model_version not in needed]
    return [one.model_version for one in reversed(old)]


def find_expired(store: ModelStore, key: VerifyKey, channels: Channels, *, keep: int, before_ms: int) -> list[str]:
    """As ``expired``, of a store: none where ``keep`` is 0, or nothing is served, since then the topic may not be the right one. A version
    whose manifest can't be verified stays. Raises TransientError if the store is away."""
    served = [current.model_version for current in (channels.current("stable"), channels.current("canary")) if current is not None]
    if not served or not keep:
        return []
    manifests = []
    for version in store.list_versions():
        try:
            manifests.append(store.read_manifest(version, key))
        except ModelRefused:
            continue
    return expired(manifests, served, keep=keep, before_ms=before_ms)


def expire_copies(cache: Path, *, days: float = _CACHED_DAYS, needed: Collection[str] = ()) -> list[str]:
    """Remove the fetched copies that were not used for so long; their versions. Of another process's copy the files stay readable to it
    until it closes them."""
    gone = []
    oldest = time.time() - days * _DAY_S
    for folder in sorted(cache.iterdir()) if cache.is_dir() else []:
        if folder.is_dir() and is_version(folder.name) and folder.name not in needed and folder.stat().st_mtime < oldest:
            discard(folder)
            gone.append(folder.name)
    return gone
