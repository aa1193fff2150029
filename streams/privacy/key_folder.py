"""Where the key files of a process are: a folder, or what ``VEILSTREAM_KEYS`` names."""

from __future__ import annotations

from streams.privacy.keys import KeyFolder
from streams.settings import Settings


def key_folder(settings: Settings) -> KeyFolder:
    """Raises ConfigurationError for a setting that names nothing."""
    return settings.keys_dir
