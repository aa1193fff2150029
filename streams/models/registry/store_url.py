"""The address of a store, which is announced to every worker: no secret may be in one."""

from __future__ import annotations

import re

from streams.errors import ConfigurationError

# A host and port, and a path which may have @ in it.
_PORT_AND_PATH = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:/]+):\d*/.*", re.DOTALL)


def _has_secret(address: str) -> bool:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return False  # a folder, whose name may have any character
    head, at, _ = rest.partition("@")
    if at and ":" in head and not _PORT_AND_PATH.fullmatch(head):
        return True
    # A name alone is a token on the web, and a user elsewhere (sftp), or a container (abfs).
    return "?" in rest or "#" in rest or (scheme.lower() in ("http", "https") and bool(at) and "/" not in head)


def check_url(root: str) -> None:
    """Raises ConfigurationError, which does not repeat it, for an address with a password, token or query."""
    # fsspec chains addresses: simplecache::https://...
    if not root or any(_has_secret(part) for part in root.split("::")):
        raise ConfigurationError(
            "VEILSTREAM_MODELS must be a folder or URL without password or query; give credentials as fsspec's configuration or "
            "the cloud's own environment variables do"
        )
