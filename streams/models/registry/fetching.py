"""Fetches the version of an announcement into a folder that a worker may load."""

from __future__ import annotations

from pathlib import Path

from nacl.signing import VerifyKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.announcement import Announcement, check_same
from streams.models.registry.folder import folder_manifest
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore


def fetch_announced(announcement: Announcement, cache_folder: Path, key: VerifyKey) -> tuple[Path, Manifest]:
    """The folder of an announced version in the cache, every byte verified, and its manifest.

    Raises as ``ModelStore.fetch`` does, and ModelRefused if the files are signed but not the announced ones.
    """
    root, _, name = announcement.location.rstrip("/").rpartition("/")
    version = announcement.model_version
    if name != version or not root:
        raise ModelRefused(
            Refusal.OTHER_CONTENT,
            f"the location {announcement.location} is not of {version}; announce it again with `veilstream models promote`",
        )
    store = ModelStore(root)
    folder = store.fetch(version, cache_folder, key)
    try:
        return folder, _checked(folder, announcement)
    except ModelRefused:
        # The cache may be of a store that was there before; this one decides.
        folder = store.fetch(version, cache_folder, key, anew=True)
        return folder, _checked(folder, announcement)


def _checked(folder: Path, announcement: Announcement) -> Manifest:
    manifest = folder_manifest(folder)
    check_same(manifest, announcement)
    return manifest
