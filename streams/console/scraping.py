"""Asks the workers for /metrics. A worker that does not answer costs nobody else anything."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence

import aiohttp

from streams.console.addresses import named
from streams.console.samples import Readings, parse

TIMEOUT_S = 1.5
MOST_BYTES = 8 << 20


class Scraper:
    """Asks all addresses at once, as often as it is told to."""

    def __init__(self, addresses: Sequence[tuple[str, int]], readings: Readings) -> None:
        self._addresses = addresses
        self._readings = readings
        self._session: aiohttp.ClientSession | None = None
        self.problems: dict[str, str | None] = {named(*address): "" for address in addresses}
        """By address, why it does not answer; None where it does, empty until it was asked. A name that stands for several machines, such
        as a headless service of Kubernetes, becomes an address for each."""

    async def __aenter__(self) -> Scraper:
        # No proxy from the environment, no cookies: the workers are asked, and nobody else.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self) -> None:
        """One round. Raises nothing for a worker that is away, or answers rubbish: ``problems`` says so."""
        machines = await asyncio.gather(*(_machines(host, port) for host, port in self._addresses))
        wanted = dict.fromkeys(machine for found in machines for machine in found)
        answers = await asyncio.gather(*(self._one(host, port) for host, port in wanted))
        problems = {named(*machine): answer for machine, answer in zip(wanted, answers, strict=True)}
        for gone in self.problems.keys() - problems.keys():
            self._readings.lost(gone)
        self.problems = problems

    async def _one(self, host: str, port: int) -> str | None:
        if self._session is None:
            raise RuntimeError("the scraper is not open")
        name = named(host, port)
        try:
            async with self._session.get(f"http://{name}/metrics", allow_redirects=False) as answer:
                if answer.status != 200:
                    return self._lost(name, f"it answers {answer.status}")
                body = await answer.content.read(MOST_BYTES + 1)
                while not answer.content.at_eof() and len(body) <= MOST_BYTES:
                    body += await answer.content.read(MOST_BYTES + 1 - len(body))
            if len(body) > MOST_BYTES:
                return self._lost(name, f"its answer is longer than {MOST_BYTES} bytes")
            self._readings.take(name, await asyncio.to_thread(parse, body.decode("utf-8"), time.monotonic()))
        except TimeoutError:
            return self._lost(name, f"no answer within {TIMEOUT_S} s")
        except aiohttp.ClientError as error:
            return self._lost(name, _why(error))
        except (ValueError, KeyError, IndexError):  # the parser raises these for what is not its format
            return self._lost(name, "its answer is not in Prometheus' format")
        return None

    def _lost(self, name: str, problem: str) -> str:
        self._readings.lost(name)
        return problem


async def _machines(host: str, port: int) -> list[tuple[str, int]]:
    """The addresses behind a name, IPv4 where there are some; the name itself where there is only one."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return [(host, port)]
    by_family = {
        family: [str(address[0]) for kind, _, _, _, address in found if kind == family] for family in (socket.AF_INET, socket.AF_INET6)
    }
    several = list(dict.fromkeys(by_family[socket.AF_INET] or by_family[socket.AF_INET6]))
    return [(one, port) for one in sorted(several)] if len(several) > 1 else [(host, port)]


def _why(error: aiohttp.ClientError) -> str:
    """In words that say what to look at; nothing of an answer."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.os_error.errno).lower() if error.os_error.errno else "it can't be reached"
    return "it ended the connection, or speaks no HTTP"
