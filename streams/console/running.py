"""Runs the console: opens what it reads, serves the page, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from aiohttp import web

from streams.clock import SystemClock
from streams.console.addresses import addresses, named
from streams.console.console import Console
from streams.console.samples import Readings
from streams.console.scraping import Scraper
from streams.console.server import create_app
from streams.console.topics import Topics
from streams.errors import ConfigurationError
from streams.files import read_trusted
from streams.serde.codec import open_codecs
from streams.settings import KafkaSettings, Settings

log = logging.getLogger(__name__)

_MOST_TOKEN = 4096
_FOLLOWED = ("recommendations", "behaviour.dead-letter", "models", "training.control", "privacy.audit", "catalogue.items")


async def run_console(
    settings: Settings, kafka: KafkaSettings, stop: asyncio.Event, *, workers: Sequence[str], ready: Callable[[str], object]
) -> None:
    """Until ``stop`` is set. ``workers``: addresses of /metrics, of the settings where empty; ``ready`` is given the page's address.

    Raises ConfigurationError for wrong settings, a wrong token file, or a port that is taken.
    """
    asked = addresses(",".join(workers) if workers else settings.console_workers, "--worker" if workers else "VEILSTREAM_CONSOLE_WORKERS")
    token = None if settings.console_token_file is None else read_token(settings.console_token_file)
    codecs = await asyncio.to_thread(open_codecs, settings)
    await asyncio.to_thread(codecs.ask_ids, _FOLLOWED)
    clock, readings = SystemClock(), Readings()
    topics = await asyncio.to_thread(Topics, settings, kafka, codecs, clock)
    async with Scraper(asked, readings) as scraper:
        console = Console(settings, scraper, readings, topics, clock)
        async with _served(
            create_app(console, host=settings.console_host, token=token), settings.console_host, settings.console_port
        ) as port:
            work = asyncio.create_task(console.run(), name="console")
            end = asyncio.create_task(stop.wait(), name="stop")
            try:
                ready(f"http://{named(settings.console_host, port)}/")
                await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
            finally:
                end.cancel()
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work


def read_token(path: Path) -> str:
    """Raises ConfigurationError for a file that others may read, that can't be read, or holds no token."""
    try:
        token = read_trusted(path, _MOST_TOKEN, "token file", secret=True).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        kind = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"token file {path} can't be read ({kind}); see VEILSTREAM_CONSOLE_TOKEN_FILE") from None
    if not token or not token.isprintable():
        raise ConfigurationError(f"token file {path} holds no token; make one with `openssl rand -hex 32 > FILE`")
    return token


@contextlib.asynccontextmanager
async def _served(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """The port that is served. Pages that are open end at once."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"{host} port {port} can't be used ({error.strerror}); set VEILSTREAM_CONSOLE_HOST and VEILSTREAM_CONSOLE_PORT, 0 takes a "
                "free one"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
