"""One request to a schema registry over HTTP: tried again where that may help; every refusal names the setting to mend."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from streams.errors import ConfigurationError, TransientError
from streams.serde.registry_access import RegistryAccess

ANSWER_S = 5.0
"""How long a registry may say nothing."""
LONGEST_S = 10.0
"""The most that reading one answer may take."""
AGAIN_S = (0.1, 0.4)
"""Waits before further attempts, seconds."""
AWAY_S = 1.0
"""Time for which no request is sent after a registry did not answer, seconds."""
MOST_AWAY_S = 60.0
"""The most of a Retry-After that is heeded."""

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_MAX_ANSWER = 1_048_576
_NOT_FOUND = frozenset({40401, 40402, 40403})  # subject, version, schema
_OF_OUR_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "ACCESS_DENIED")
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


class NoAnswerError(TransientError):
    """No answer, or one that says "later". ``away_s``: how long not to ask."""

    def __init__(self, message: str, away_s: float = 0.0) -> None:
        super().__init__(message)
        self.away_s = away_s


class NoRegistryError(TransientError):
    """Something answers at the address, but not a registry."""


class RefusedError(ConfigurationError):
    """The registry, or TLS, does not accept who asks."""


class RegistryHttp:
    """Blocks: call it in a thread of its own. ``pause`` sleeps."""

    def __init__(self, access: RegistryAccess, pause: Callable[[float], object] = time.sleep) -> None:
        self._access = access
        self._url = access.url.rstrip("/")
        self._pause = pause

    def ask(self, path: str, body: bytes | None, what: str) -> dict[str, Any] | None:
        """The answer; None if the registry says that it has no such thing.

        Network errors, HTTP 408, 429 and 5xx are tried twice more. Raises NoAnswerError for these, NoRegistryError, RefusedError for
        HTTP 401 and 403 and for TLS, and ConfigurationError for any other refusal.
        """
        for wait_s in (*AGAIN_S, None):
            try:
                return self._once(path, body, what)
            except NoAnswerError as error:
                if wait_s is None or error.away_s > AWAY_S:
                    raise
                self._pause(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, path: str, body: bytes | None, what: str) -> dict[str, Any] | None:
        secrets = self._access.secret_headers()
        try:
            return self._send(path, body, what, secrets)
        except RefusedError:
            # A new password or token may have been put in place between reading the file and asking.
            if (renewed := self._access.secret_headers()) == secrets:
                raise
            return self._send(path, body, what, renewed)

    def _send(self, path: str, body: bytes | None, what: str, secrets: dict[str, str]) -> dict[str, Any] | None:
        headers = {"Content-Type": _CONTENT_TYPE, "Accept": f"{_CONTENT_TYPE}, application/json", "User-Agent": "veilstream", **secrets}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310 - RegistryAccess checks the scheme
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if (context := self._access.tls()) is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=ANSWER_S) as reply:
                text = _read(reply, time.monotonic() + LONGEST_S)
        except urllib.error.HTTPError as error:
            self._check_refusal(error, what, reading=body is None)
            return None
        except (OSError, http.client.HTTPException) as error:
            # Without its cause: an error of http.client may quote a header.
            raise self._failed(error.reason if isinstance(error, urllib.error.URLError) else error) from None
        try:
            # No schema of the product is this large, and a retry would not make it smaller.
            answer = json.loads(text) if len(text) <= _MAX_ANSWER else None
        except (ValueError, RecursionError):
            raise NoRegistryError(f"{self._url} answered {what} with something that is not JSON; see VEILSTREAM_REGISTRY_URL") from None
        return answer if isinstance(answer, dict) else None

    def _failed(self, reason: object) -> Exception:
        at = f"the schema registry at {self._url}"
        if isinstance(reason, ssl.SSLCertVerificationError):
            return RefusedError(
                f"{at} has a certificate that can't be trusted ({reason.verify_message}); "
                "put the CA's certificate into the file of VEILSTREAM_REGISTRY_CAFILE, and see VEILSTREAM_REGISTRY_URL for the name"
            )
        why = reason.reason or "" if isinstance(reason, ssl.SSLError) else ""
        if any(word in why for word in _NO_TLS):
            return RefusedError(f"{at} does not speak TLS ({why}); if it is plain HTTP, VEILSTREAM_REGISTRY_URL must begin with http://")
        if any(word in why for word in _OF_OUR_CERTIFICATE):
            return RefusedError(
                f"{at} refused the TLS connection ({why}); set VEILSTREAM_REGISTRY_CERTFILE and VEILSTREAM_REGISTRY_KEYFILE to a client "
                "certificate that it accepts"
            )
        name = type(reason).__name__ if isinstance(reason, BaseException) else str(reason)
        return NoAnswerError(f"{at} does not answer ({name}); see VEILSTREAM_REGISTRY_URL", AWAY_S)

    def _check_refusal(self, error: urllib.error.HTTPError, what: str, *, reading: bool) -> None:
        """Returns where the answer is a plain "not found" or "no such id"; raises what any other means."""
        status, at = error.code, f"the schema registry at {self._url}"
        try:
            code = json.loads(_read(error, time.monotonic() + LONGEST_S)).get("error_code")
        except (OSError, http.client.HTTPException, ValueError, AttributeError, RecursionError):
            code = None
        finally:
            error.close()
        if (status == 404 and code in _NOT_FOUND) or (reading and status in (400, 422)):
            return
        if status == 401:
            raise RefusedError(f"{at} does not know who asks (HTTP 401); check {self._access.credentials_setting()}")
        if status == 403:
            raise RefusedError(
                f"{at} does not allow {what} (HTTP 403, error code {code}) to {self._access.credentials_setting()}; "
                "allow it there, or register schemas/avro/ by hand"
            )
        if status in (408, 425, 429) or status >= 500:
            raise NoAnswerError(f"{at} answered HTTP {status} for {what}; see VEILSTREAM_REGISTRY_URL", _retry_after(error))
        if 300 <= status < 400:
            raise RefusedError(f"{at} sends its callers elsewhere (HTTP {status}); set VEILSTREAM_REGISTRY_URL to where it is")
        if status == 404 or reading:
            # It comes from something in front of a registry. It must not refuse every record.
            raise NoRegistryError(
                f"what answers at {self._url} is no schema registry (HTTP {status} for {what}); VEILSTREAM_REGISTRY_URL may need a path "
                "(Apicurio: /apis/ccompat/v7)"
            )
        raise ConfigurationError(
            f"{at} refused {what} (HTTP {status}, error code {code}); allow it there, or register schemas/avro/ by hand"
        )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credentials to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds; dates are not read."""
    text = error.headers.get("Retry-After", "") if error.headers is not None else ""
    return min(float(text), MOST_AWAY_S) if text.isascii() and text.isdigit() else 0.0


def _read(reply: Any, deadline: float) -> bytes:
    """The answer, cut off where it is too long. The timeout of a connection is for each read of it. Raises TimeoutError."""
    parts: list[bytes] = []
    while sum(map(len, parts)) <= _MAX_ANSWER and (part := reply.read1(65_536)):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer arrives too slowly")
    return b"".join(parts)
