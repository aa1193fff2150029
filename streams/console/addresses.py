"""The addresses of /metrics that the settings name. Pure."""

from __future__ import annotations

import re

from streams.errors import ConfigurationError

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})(?:-(\d{1,5}))?")
_MOST = 500


def addresses(text: str, setting: str = "VEILSTREAM_CONSOLE_WORKERS") -> list[tuple[str, int]]:
    """Host and port of each, in order and once. Raises ConfigurationError for what is no list of HOST:PORT or HOST:FIRST-LAST.

    >>> addresses("10.0.0.7:9464, [::1]:9464-9465")
    [('10.0.0.7', 9464), ('::1', 9464), ('::1', 9465)]
    """
    found: dict[tuple[str, int], None] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        match = _ADDRESS.fullmatch(part)
        first = int(match[2]) if match else 0
        last = int(match[3] or first) if match else 0
        if match is None or not 0 < first <= last < 65_536 or len(found) + last - first >= _MOST:
            raise ConfigurationError(
                f"{setting} must be HOST:PORT or HOST:FIRST-LAST, several separated by commas, at most {_MOST} ports in all"
            )
        found |= dict.fromkeys((match[1].strip("[]"), port) for port in range(first, last + 1))
    return list(found)


def named(host: str, port: int) -> str:
    """
    >>> named("::1", 80)
    '[::1]:80'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
