"""Tokens for SASL/OAUTHBEARER: from a file that somebody renews, or from a token endpoint (client credentials, RFC 6749 section 4.4)."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from streams.errors import ConfigurationError
from streams.files import check_trusted, read_trusted
from streams.settings import KafkaSettings

_MAX_TOKEN = 65_536
_ANSWER_S = 10.0
_RENEW_SHARE = 0.8
"""A token is asked for anew when so much of its life is over."""
_USUAL_S = 300.0
"""Life of a token whose endpoint does not tell it."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_HERE = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/].*)?")


class NoTokenError(KafkaError):  # type: ignore[misc]
    """There is no token now. The client takes it for a failed connection: it tries again."""


class FileTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Read for each connection, so that a renewed file is used at once, such as the token of a Kubernetes service account."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        self._path, self._now_s = path, now_s

    async def token(self) -> str:
        """Raises NoTokenError for a file that can't be read or whose token is over, ConfigurationError if others may write it."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> str:
        try:
            text = read_trusted(self._path, _MAX_TOKEN, "KAFKA_SASL_TOKEN_FILE").decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoTokenError(f"KAFKA_SASL_TOKEN_FILE={self._path} can't be read ({type(error).__name__})") from None
        if not _TOKEN.fullmatch(text):
            raise NoTokenError(f"KAFKA_SASL_TOKEN_FILE={self._path} holds no bearer token")
        over_s = self._now_s() - (expiry_s(text) or float("inf"))
        if over_s >= 0:
            raise NoTokenError(
                f"the token in KAFKA_SASL_TOKEN_FILE={self._path} expired {over_s:.0f} s ago; look at what renews it, and at this clock"
            )
        return text


class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Asks a token endpoint, and keeps the token for most of its life. All clients of a process share one."""

    def __init__(self, kafka: KafkaSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError if a setting is missing or wrong."""
        url, client_id, secret = kafka.sasl_token_url, kafka.sasl_client_id, kafka.sasl_client_secret_file
        if url is None or client_id is None or secret is None:
            raise ConfigurationError("KAFKA_SASL_TOKEN_URL needs KAFKA_SASL_CLIENT_ID and KAFKA_SASL_CLIENT_SECRET_FILE")
        parts = urllib.parse.urlsplit(url)
        if not (parts.scheme == "https" or _HERE.fullmatch(url)) or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError("KAFKA_SASL_TOKEN_URL must be an https:// address without a user: the client's secret is sent there")
        self._url, self._client_id, self._secret_file, self._scope = url, client_id, secret, kafka.sasl_scope
        self._context = _tls(kafka.sasl_token_cafile)
        self._monotonic = monotonic
        self._lock = threading.Lock()  # Faust's client asks from a thread of its own
        self._token, self._renew_at = "", 0.0

    async def token(self) -> str:
        """Raises NoTokenError if the endpoint gives none, ConfigurationError for a secret's file that others may write."""
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            if self._monotonic() >= self._renew_at:
                asked_at = self._monotonic()
                self._token, life_s = self._ask()
                self._renew_at = asked_at + life_s * _RENEW_SHARE
            return self._token

    def _ask(self) -> tuple[str, float]:
        try:
            secret = read_trusted(self._secret_file, _MAX_TOKEN, "KAFKA_SASL_CLIENT_SECRET_FILE").decode("utf-8").splitlines()[0]
        except (OSError, IndexError, UnicodeDecodeError) as error:
            raise NoTokenError(f"KAFKA_SASL_CLIENT_SECRET_FILE={self._secret_file} can't be read ({type(error).__name__})") from None
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        basic = base64.b64encode(f"{urllib.parse.quote_plus(self._client_id)}:{urllib.parse.quote_plus(secret)}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            self._url,
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": f"Basic {basic}", "Accept": "application/json", "User-Agent": "veilstream"},
        )
        opener = urllib.request.build_opener(_NoRedirects(), urllib.request.HTTPSHandler(context=self._context))
        try:
            with opener.open(request, timeout=_ANSWER_S) as reply:
                answer = json.loads(reply.read(_MAX_TOKEN))
            token, life_s = answer["access_token"], float(answer.get("expires_in", _USUAL_S))
        except urllib.error.HTTPError as error:
            error.close()
            hint = ""
            if error.code in (400, 401, 403):
                hint = "; check KAFKA_SASL_CLIENT_ID, KAFKA_SASL_CLIENT_SECRET_FILE and KAFKA_SASL_SCOPE"
            raise NoTokenError(f"the token endpoint of KAFKA_SASL_TOKEN_URL answered HTTP {error.code}{hint}") from None
        except (OSError, http.client.HTTPException) as error:
            # Without its cause: an error of http.client may quote a header.
            raise NoTokenError(f"the token endpoint of KAFKA_SASL_TOKEN_URL does not answer ({_of(error)})") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise NoTokenError("what answers at KAFKA_SASL_TOKEN_URL is no token endpoint: no access_token is in its answer") from None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise NoTokenError("the token endpoint of KAFKA_SASL_TOKEN_URL gave something that is no bearer token")
        return token, life_s


@cache
def _endpoint_tokens(kafka: KafkaSettings) -> EndpointTokens:
    return EndpointTokens(kafka)


def token_provider(kafka: KafkaSettings) -> AbstractTokenProvider:
    """Of these settings. Raises ConfigurationError if none or both kinds are set, or one is incomplete."""
    if (kafka.sasl_token_file is None) == (kafka.sasl_token_url is None):
        raise ConfigurationError("OAUTHBEARER needs either KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_URL")
    return _endpoint_tokens(kafka) if kafka.sasl_token_file is None else FileTokens(kafka.sasl_token_file)


def expiry_s(token: str) -> float | None:
    """When a JSON Web Token ends, in seconds since 1970, as it says itself; None for a token of another kind.

    >>> expiry_s("opaque")
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        expiry = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["exp"]
        return float(expiry) if isinstance(expiry, int | float) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _tls(cafile: Path | None) -> ssl.SSLContext:
    try:
        if cafile is not None:
            check_trusted(cafile, "KAFKA_SASL_TOKEN_CAFILE")
        return ssl.create_default_context(cafile=str(cafile) if cafile else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"KAFKA_SASL_TOKEN_CAFILE={cafile} can't be used ({type(error).__name__})") from None


def _of(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate can't be trusted: {reason.verify_message}; see KAFKA_SASL_TOKEN_CAFILE"
    return type(reason).__name__


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the secret to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
