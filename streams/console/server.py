"""Serves the page, its view, and nothing else: GET only, no cookies, no outside address.

Whoever asks from elsewhere than this machine needs the token. A browser asks for it as a password (HTTP basic authentication, any user
name), so it stands in no address and no script has it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import html
import ipaddress
import json
import re
from collections.abc import Mapping
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams.console.console import Console
from streams.console.language import LANGUAGES, choose_language
from streams.errors import ConfigurationError

_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "json": "application/json", "svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    "Server": "veilstream",
}
_PLACE = re.compile(r"\{\{([a-z_.]+)\}\}")
_HEALTH = "/healthz"
_LEAST_TOKEN = 16
_SLOW_S = 15.0
"""Within which a page must take a view."""


class Page:
    """The files of the page, read once. Texts of the page itself stand in it by their names, ``{{name}}``."""

    def __init__(self) -> None:
        folder = files(__package__) / "page"
        self._files = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in _KINDS}
        strings: dict[str, dict[str, str]] = {language: json.loads(self._files[f"{language}.json"]) for language in LANGUAGES}
        template = self._files.pop("index.html").decode()
        self._index = {language: _filled(template, {**strings[language], "lang": language}) for language in LANGUAGES}

    def index(self, language: str) -> bytes:
        return self._index[language]

    def file(self, name: str) -> tuple[bytes, str] | None:
        """Content and kind; None where there is no such file."""
        content = self._files.get(name)
        return None if content is None else (content, _KINDS[name.rpartition(".")[2]])


def _filled(template: str, strings: Mapping[str, str]) -> bytes:
    return _PLACE.sub(lambda found: html.escape(strings[found[1]], quote=True), template).encode()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("::1")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def create_app(console: Console, *, host: str, token: str | None) -> web.Application:
    """``host`` is what the server listens on. Raises ConfigurationError where others than this machine could read along without a token."""
    if token is None and not is_loopback(host):
        raise ConfigurationError(
            f"the console on {host} can be reached from other machines: set VEILSTREAM_CONSOLE_TOKEN_FILE to a file with a token of at "
            f"least {_LEAST_TOKEN} characters, or VEILSTREAM_CONSOLE_HOST=127.0.0.1"
        )
    if token is not None and len(token) < _LEAST_TOKEN:
        raise ConfigurationError(
            f"the token in VEILSTREAM_CONSOLE_TOKEN_FILE is shorter than {_LEAST_TOKEN} characters; make one with `openssl rand -hex 32`"
        )
    page = Page()

    async def index(request: web.Request) -> web.Response:
        language = choose_language(request.query.get("lang"), request.headers.get("Accept-Language", ""))
        answer = web.Response(body=page.index(language), content_type="text/html", charset="utf-8")
        answer.headers["Vary"] = "Accept-Language"
        answer.headers["Content-Language"] = language
        return answer

    async def file(request: web.Request) -> web.Response:
        found = page.file(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found[0], content_type=found[1], charset="utf-8")

    async def snapshot(request: web.Request) -> web.Response:
        await console.first()
        return web.Response(body=console.latest, content_type="application/json", charset="utf-8", headers={"Cache-Control": "no-store"})

    async def events(request: web.Request) -> web.StreamResponse:
        if console.is_full:
            raise web.HTTPServiceUnavailable(text="too many pages are open; close some\n", headers={"Retry-After": "10"})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"})
        answer.headers["X-Accel-Buffering"] = "no"  # a proxy that gathers would hold the views back
        answer.headers.update({name: value for name, value in _HEADERS.items() if name not in answer.headers})
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        # Whoever closes the page, or takes nothing any more, ends the stream: that is no error.
        with contextlib.suppress(ConnectionError, TimeoutError):
            await answer.write(b"retry: 3000\n\n")
            async with contextlib.aclosing(console.watch()) as views:
                async for view in views:
                    await asyncio.wait_for(answer.write(b"data: " + view + b"\n\n"), _SLOW_S)
        return answer

    async def health(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application(middlewares=[_guard(token)], client_max_size=1)
    app.router.add_get("/", index)
    app.router.add_get(_HEALTH, health)
    app.router.add_get("/page/{name}", file)
    app.router.add_get("/snapshot.json", snapshot)
    app.router.add_get("/events", events)
    return app


def _guard(token: str | None) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path == _HEALTH:
                pass  # tells nothing, and who watches the process has no token
            elif token is not None:
                _need_token(request, token)
            elif not is_loopback(_name_of(request.host)):
                # Another site's name that leads to this machine: its scripts would read along.
                raise web.HTTPForbidden(text="ask for the console by the name localhost, or set VEILSTREAM_CONSOLE_TOKEN_FILE\n")
            answer = await handler(request)
        except web.HTTPException as refused:
            refused.headers.update(_HEADERS)
            raise
        if not answer.prepared:
            answer.headers.update({name: value for name, value in _HEADERS.items() if name not in answer.headers})
        return answer

    return guard


def _name_of(host: str) -> str:
    """Without its port, and without the brackets of IPv6."""
    return host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]


def _need_token(request: web.Request, token: str) -> None:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    elif kind.lower() != "bearer":
        given = ""
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise web.HTTPUnauthorized(
            text="the token of VEILSTREAM_CONSOLE_TOKEN_FILE is the password; any user name will do\n",
            headers={"WWW-Authenticate": 'Basic realm="Veilstream console", charset="UTF-8"'},
        )
