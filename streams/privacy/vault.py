"""HashiCorp Vault (and OpenBao, which speaks the same protocol): key files out of a secret, or unwrapped by the transit engine.

One request at the start of a process, over TLS only, with the token of a file. No redirect is followed: a token must not go to who is named
by an answer. No error holds anything of an answer or of the token.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from streams.errors import ConfigurationError
from streams.files import read_trusted

ANSWER_S = 10.0
"""How long Vault may say nothing."""
_MOST_ANSWER = 1 << 20
_MOST_TOKEN = 4096
_PORT = 8200
_FIX = {
    400: "it does not understand the request; check the mount, the name and the version of the engine (KV must be version 2)",
    403: "it refuses the token: check VEILSTREAM_VAULT_TOKEN_FILE, that the token has not expired, and that its policy allows this path",
    404: "there is nothing at this path: check the mount and the path in VEILSTREAM_KEYS",
    429: "it is a standby, or asked too often; name the active node",
    472: "it is a standby of another cluster; name the active node",
    473: "it is a standby; name the active node",
    503: "it is sealed or under maintenance; unseal it",
}


class VaultAddress(NamedTuple):
    """``scheme://host:port/mount/path``."""

    host: str
    port: int
    mount: str
    path: str


def vault_address(url: str) -> VaultAddress:
    """Raises ConfigurationError for an address that is none.

    >>> vault_address("vault://vault.shop:8200/secret/veilstream/ingest")
    VaultAddress(host='vault.shop', port=8200, mount='secret', path='veilstream/ingest')
    """
    parts = urlsplit(url)
    mount, _, path = parts.path.strip("/").partition("/")
    try:
        port = parts.port or _PORT
    except ValueError:
        port = 0
    if not parts.hostname or not mount or not path or not port or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            "VEILSTREAM_KEYS must be vault://HOST:PORT/MOUNT/PATH or vault-transit://HOST:PORT/MOUNT/KEY, without a token"
        )
    return VaultAddress(parts.hostname, port, mount, path)


class Vault:
    """Requests to one Vault."""

    def __init__(self, address: VaultAddress, token_file: Path | None, cafile: Path | None, namespace: str | None) -> None:
        """Raises ConfigurationError without a token file."""
        if token_file is None:
            raise ConfigurationError("VEILSTREAM_KEYS names a Vault: set VEILSTREAM_VAULT_TOKEN_FILE to the file with its token")
        self._address, self._token_file, self._cafile, self._namespace = address, token_file, cafile, namespace

    def __str__(self) -> str:
        where = self._address
        return f"Vault at {where.host}:{where.port}, {where.mount}/{where.path}"

    def secret(self) -> dict[str, str]:
        """The fields of the secret at the address (KV, version 2). Raises ConfigurationError that names the fix."""
        answer = self._ask("GET", f"{quote(self._address.mount)}/data/{quote(self._address.path)}", None)
        try:
            fields = answer["data"]["data"]
            return {str(name): value for name, value in fields.items() if isinstance(value, str)}
        except (KeyError, TypeError, AttributeError):
            raise ConfigurationError(f"{self}: this is no secret of a KV engine of version 2; check the mount in VEILSTREAM_KEYS") from None

    def wrap(self, content: bytes) -> bytes:
        """Encrypted by the transit engine's key. Raises as above."""
        answer = self._ask("POST", self._transit("encrypt"), {"plaintext": base64.b64encode(content).decode()})
        return self._text(answer, "ciphertext").encode()

    def unwrap(self, wrapped: bytes) -> bytes:
        """What ``wrap`` was given. Raises as above."""
        answer = self._ask("POST", self._transit("decrypt"), {"ciphertext": wrapped.decode("ascii", "replace").strip()})
        try:
            return base64.b64decode(self._text(answer, "plaintext"), validate=True)
        except binascii.Error:
            raise ConfigurationError(f"{self}: the answer is not that of a transit engine; check VEILSTREAM_KEYS") from None

    def _transit(self, what: str) -> str:
        return f"{quote(self._address.mount)}/{what}/{quote(self._address.path)}"

    def _text(self, answer: dict[str, Any], name: str) -> str:
        found = answer.get("data")
        if not isinstance(found, dict) or not isinstance(found.get(name), str):
            raise ConfigurationError(f"{self}: the answer is not that of a transit engine; check VEILSTREAM_KEYS")
        return str(found[name])

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true", "Content-Type": "application/json"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        connection = http.client.HTTPSConnection(self._address.host, self._address.port, timeout=ANSWER_S, context=self._context())
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read(_MOST_ANSWER + 1)
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not accepted ({error.verify_message}); set VEILSTREAM_VAULT_CAFILE to the CA that issued it"
            raise ConfigurationError(f"{self}: {why}") from None
        except ssl.SSLError as error:
            raise ConfigurationError(f"{self}: no TLS with it ({error.reason}); its listener must have TLS") from None
        except TimeoutError:
            raise ConfigurationError(f"{self}: no answer within {ANSWER_S:g} s; check the address, and that it is up") from None
        except (OSError, http.client.HTTPException) as error:
            raise ConfigurationError(
                f"{self}: it can't be reached ({type(error).__name__}); check the address, and that it is up"
            ) from None
        finally:
            connection.close()
        if 300 <= status < 400:
            raise ConfigurationError(f"{self}: it answers with a redirect, which is not followed; name the active node in VEILSTREAM_KEYS")
        if status != 200:
            raise ConfigurationError(f"{self}: {_FIX.get(status, 'see its own log')} (status {status})")
        if len(content) > _MOST_ANSWER:
            raise ConfigurationError(f"{self}: the answer is longer than {_MOST_ANSWER} bytes; check VEILSTREAM_KEYS")
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError(f"{self}: the answer is no JSON object; something else answers at this address")
        return found

    def _token(self) -> str:
        try:
            token = read_trusted(self._token_file, _MOST_TOKEN, "token file", secret=True).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise ConfigurationError(f"token file {self._token_file} can't be read ({kind}); see VEILSTREAM_VAULT_TOKEN_FILE") from None
        if not token or not token.isprintable() or " " in token:
            raise ConfigurationError(f"token file {self._token_file} holds no token of Vault; see VEILSTREAM_VAULT_TOKEN_FILE")
        return token

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=None if self._cafile is None else str(self._cafile))
        except OSError as error:
            raise ConfigurationError(f"VEILSTREAM_VAULT_CAFILE {self._cafile} can't be used ({type(error).__name__})") from None
