"""How a schema registry is reached: its address, who asks, and which certificates count. Secrets are read from files, each time anew."""

from __future__ import annotations

import base64
import logging
import re
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import ConfigurationError
from streams.files import check_trusted, read_trusted
from streams.settings import Settings

log = logging.getLogger(__name__)

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_OWN_HEADERS = frozenset({"authorization", "content-type", "content-length", "accept", "host", "connection", "transfer-encoding"})
_MAX_SECRET = 65_536


@dataclass(frozen=True)
class RegistryAccess:
    """Raises ConfigurationError if the settings contradict each other. The files are read by ``secret_headers`` and ``tls``."""

    url: str
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None

    def __post_init__(self) -> None:
        _check_url(self.url)
        if (self.user is None) != (self.password_file is None):
            raise ConfigurationError("VEILSTREAM_REGISTRY_USER and VEILSTREAM_REGISTRY_PASSWORD_FILE belong together; set both or none")
        if self.user is not None and self.token_file is not None:
            raise ConfigurationError("set VEILSTREAM_REGISTRY_USER or VEILSTREAM_REGISTRY_TOKEN_FILE, not both")
        if self.user is not None and ":" in self.user:
            raise ConfigurationError("VEILSTREAM_REGISTRY_USER must not hold a colon; basic authentication has no such users")
        if self.keyfile is not None and self.certfile is None:
            raise ConfigurationError("VEILSTREAM_REGISTRY_KEYFILE needs VEILSTREAM_REGISTRY_CERTFILE")
        secure = self.url.lower().startswith("https:")
        if not secure and (self.cafile or self.certfile):
            raise ConfigurationError("VEILSTREAM_REGISTRY_CAFILE and _CERTFILE need a VEILSTREAM_REGISTRY_URL that begins with https://")
        if not secure and (self.user is not None or self.token_file is not None) and not _is_here(self.url):
            log.warning("the credentials of the schema registry travel unencrypted: VEILSTREAM_REGISTRY_URL is not https://")

    @classmethod
    def from_settings(cls, settings: Settings) -> RegistryAccess:
        """Raises ConfigurationError as above, and where no VEILSTREAM_REGISTRY_URL is set."""
        return cls(
            settings.registry_url or "",
            settings.registry_user,
            settings.registry_password_file,
            settings.registry_token_file,
            headers_of(settings.registry_headers),
            settings.registry_cafile,
            settings.registry_certfile,
            settings.registry_keyfile,
        )

    def secret_headers(self) -> dict[str, str]:
        """What says who asks, from the files as they are now. Raises ConfigurationError that names the file's setting, never its
        content."""
        found = dict(self.headers)
        if self.token_file is not None:
            token = _first_line("VEILSTREAM_REGISTRY_TOKEN_FILE", self.token_file)
            if not _VISIBLE.fullmatch(token):
                raise ConfigurationError(f"VEILSTREAM_REGISTRY_TOKEN_FILE={self.token_file} holds no token: one word of ASCII is one")
            found["Authorization"] = f"Bearer {token}"
        elif self.password_file is not None:
            pair = f"{self.user}:{_first_line('VEILSTREAM_REGISTRY_PASSWORD_FILE', self.password_file)}"
            found["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return found

    def tls(self) -> ssl.SSLContext | None:
        """Checks the registry's certificate and carries the client's, from the files as they are now; None for http://. Raises
        ConfigurationError."""
        if not self.url.lower().startswith("https:"):
            return None
        for name in ("cafile", "certfile", "keyfile"):
            if (path := getattr(self, name)) is not None and path.exists():
                check_trusted(path, f"VEILSTREAM_REGISTRY_{name.upper()}")
        try:
            context = ssl.create_default_context(cafile=str(self.cafile) if self.cafile else None)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("VEILSTREAM_REGISTRY_CAFILE", self.cafile, error) from None
        if self.certfile is not None:
            try:
                # A password, else OpenSSL would ask for one at the terminal and wait.
                context.load_cert_chain(str(self.certfile), str(self.keyfile) if self.keyfile else None, password="")
            except (OSError, ssl.SSLError) as error:
                raise _unusable("VEILSTREAM_REGISTRY_CERTFILE (with _KEYFILE)", self.certfile, error) from None
        return context

    def credentials_setting(self) -> str:
        """The settings to look at if the registry does not accept who asks."""
        if self.token_file is not None:
            return "the token in VEILSTREAM_REGISTRY_TOKEN_FILE"
        if self.user is not None:
            return "VEILSTREAM_REGISTRY_USER and the password in VEILSTREAM_REGISTRY_PASSWORD_FILE"
        return "VEILSTREAM_REGISTRY_USER with VEILSTREAM_REGISTRY_PASSWORD_FILE, or VEILSTREAM_REGISTRY_TOKEN_FILE: none is set"


def headers_of(text: str) -> dict[str, str]:
    """The headers in ``name=value,name=value``. Raises ConfigurationError.

    >>> headers_of("target-sr-cluster=lsrc-1, Confluent-Identity-Pool-Id=pool-2")
    {'target-sr-cluster': 'lsrc-1', 'Confluent-Identity-Pool-Id': 'pool-2'}
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (side.strip() for side in part.partition("="))
        if not _HEADER_NAME.fullmatch(name) or not _VISIBLE.fullmatch(value):
            raise ConfigurationError("VEILSTREAM_REGISTRY_HEADERS must be name=value, separated by commas")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(
                f"VEILSTREAM_REGISTRY_HEADERS can't set {name}; credentials are set by files, see `veilstream settings`"
            )
        found[name] = value
    return found


def _check_url(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        usable = usable and not parts.query and not parts.fragment and _VISIBLE.fullmatch(url) is not None
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError("VEILSTREAM_REGISTRY_URL must be http://host[:port][/path] or https://host[:port][/path]")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "VEILSTREAM_REGISTRY_URL must not hold a user or password, they would show up in logs; "
            "use VEILSTREAM_REGISTRY_USER and VEILSTREAM_REGISTRY_PASSWORD_FILE"
        )


def _is_here(url: str) -> bool:
    return (urllib.parse.urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")


def _first_line(setting: str, path: Path) -> str:
    try:
        line = read_trusted(path, _MAX_SECRET, setting).decode("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{setting}={path} can't be read ({type(error).__name__})") from None
    if not line:
        raise ConfigurationError(f"{setting}={path} has an empty first line")
    return line


def _unusable(setting: str, path: Path | None, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{setting}={path} can't be used ({type(error).__name__}: {error.strerror})")
