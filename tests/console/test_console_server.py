"""The server: headers, the token, GET only, events as they come; workers that are away or old, and no broker."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from streams.console import console as console_module
from streams.console.running import read_token, run_console
from streams.console.server import create_app
from streams.errors import ConfigurationError
from streams.settings import Settings
from tests.support.console_pages import NOBODY, ConsoleParts, letter, recommendation, serving, worker_registry
from tests.support.waiting import until

TOKEN = "a-token-of-some-length"


@asynccontextmanager
async def opened(folder: Path, ports: list[int], **options: Any) -> AsyncIterator[tuple[ConsoleParts, aiohttp.ClientSession, str]]:
    parts = ConsoleParts(folder, ports)
    async with parts.running(**options) as address, aiohttp.ClientSession() as session:
        yield parts, session, address


async def answer(session: aiohttp.ClientSession, address: str, method: str = "GET", **options: Any) -> tuple[int, Any, str]:
    async with session.request(method, address, **options) as found:
        return found.status, found.headers, await found.text()


async def test_every_answer_has_the_headers(tmp_path: Path) -> None:
    async with serving(worker_registry("ingest")) as ports, opened(tmp_path, ports) as (_, session, address):
        for path, status in (
            ("", 200),
            ("page/app.js", 200),
            ("snapshot.json", 200),
            ("none", 404),
            ("page/none.js", 404),
            ("page/../server.py", 404),
        ):
            got, headers, _ = await answer(session, address + path)
            assert got == status, path
            assert headers["Content-Security-Policy"].startswith("default-src 'self'; base-uri 'none'")
            assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
            assert "Set-Cookie" not in headers and headers["Server"] == "veilstream"
        _, headers, _ = await answer(session, address + "snapshot.json")
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_it_only_reads(tmp_path: Path, method: str) -> None:
    async with opened(tmp_path, []) as (_, session, address):
        for path in ("", "events", "snapshot.json", "page/app.js"):
            assert (await answer(session, address + path, method))[0] == 405


async def test_the_page_speaks_the_readers_language(tmp_path: Path) -> None:
    async with opened(tmp_path, []) as (_, session, address):
        _, headers, english = await answer(session, address)
        assert headers["Content-Language"] == "en" and '<html lang="en">' in english and "{{" not in english
        _, headers, chinese = await answer(session, address, headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
        assert headers["Content-Language"] == "zh" and "数据流" in chinese and headers["Vary"] == "Accept-Language"
        assert '<html lang="en">' in (await answer(session, address + "?lang=en", headers={"Accept-Language": "zh"}))[2]


async def test_views_come_as_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "WATCHED_S", 0.05)
    async with serving(worker_registry("profile")) as ports, opened(tmp_path, ports) as (parts, session, address):
        parts.topics.latest.take("0/1", 5, recommendation())
        async with session.get(address + "events") as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert stream.headers["Content-Security-Policy"].startswith("default-src 'self'")
            views = []
            async for line in stream.content:
                if line.startswith(b"data: "):
                    views.append(json.loads(line[6:]))
                if len(views) == 3:
                    break
        assert views[0]["at"] < views[2]["at"]
        assert [worker["stages"] for worker in views[0]["workers"]] == [["profile"]]
        assert views[0]["recommendations"][0]["items"][0]["score"] == 0.6
        assert "secret" not in json.dumps(views)


async def test_so_many_pages_at_once_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "MOST_WATCHERS", 1)
    async with opened(tmp_path, []) as (_, session, address), session.get(address + "events") as first:
        await first.content.readline()
        await first.content.readuntil(b"data: ")
        status, headers, text = await answer(session, address + "events")
        assert (status, headers["Retry-After"]) == (503, "10") and "close some" in text


async def test_with_a_token_nothing_is_told_without_it(tmp_path: Path) -> None:
    async with opened(tmp_path, [], token=TOKEN) as (_, session, address):
        for path in ("", "page/app.js", "snapshot.json", "events", "none"):
            status, headers, text = await answer(session, address + path)
            assert status == 401 and headers["WWW-Authenticate"].startswith("Basic") and "Veilstream<" not in text
        right = [f"Bearer {TOKEN}", "Basic " + b64encode(f"anna:{TOKEN}".encode()).decode()]
        wrong = ["Bearer x", f"Bearer {TOKEN}x", "Basic !", "Basic " + b64encode(b"anna:x").decode(), f"Digest {TOKEN}", "Basic /w=="]
        for given in right:
            assert (await answer(session, address, headers={"Authorization": given}))[0] == 200
        for given in wrong:
            assert (await answer(session, address, headers={"Authorization": given}))[0] == 401
        # Who watches the process has no token, and is told nothing else.
        assert (await answer(session, address + "healthz", headers={"Host": "10.0.0.1"}))[::2] == (200, "ok\n")
        # With a token, any name may lead here.
        assert (await answer(session, address, headers={"Authorization": right[0], "Host": "console.shop"}))[0] == 200


async def test_without_a_token_another_sites_name_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, []) as (_, session, address):
        for host in ("evil.example", "evil.example:9480", "127.0.0.1.evil.example", ""):
            status, _, text = await answer(session, address + "snapshot.json", headers={"Host": host})
            assert status == 403 and "localhost" in text
        for host in ("localhost:1", "127.0.0.1", "[::1]:9"):
            assert (await answer(session, address, headers={"Host": host}))[0] == 200


def test_others_reach_it_with_a_long_token_only(tmp_path: Path) -> None:
    parts: Any = None
    with pytest.raises(ConfigurationError, match="VEILSTREAM_CONSOLE_TOKEN_FILE"):
        create_app(parts, host="0.0.0.0", token=None)
    with pytest.raises(ConfigurationError, match="shorter than 16"):
        create_app(parts, host="0.0.0.0", token="short")
    create_app(parts, host="0.0.0.0", token=TOKEN)


def test_a_token_file_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_token(file)
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to everybody"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    file.write_text("\n")
    with pytest.raises(ConfigurationError, match="holds no token"):
        read_token(file)


async def view_of(folder: Path, ports: list[int], **options: Any) -> dict[str, Any]:
    async with opened(folder, ports, **options) as (_, session, address):
        found: dict[str, Any] = json.loads((await answer(session, address + "snapshot.json"))[2])
        return found


async def test_a_worker_that_is_away_or_old_or_none_is_named(tmp_path: Path) -> None:
    old = CollectorRegistry()
    Counter("veilstream_records_total", "n", ["stage"], registry=old).labels("feedback").inc()
    async with serving(worker_registry("ingest"), old, CollectorRegistry()) as ports:
        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        rubbish = await asyncio.start_server(answer_rubbish, "127.0.0.1", 0)
        both = [server.sockets[0].getsockname()[1] for server in (silent, rubbish)]
        view = await view_of(tmp_path, [*ports, *both, 1])
        silent.close()
        rubbish.close()
    states = [(worker["state"], worker["problem"]) for worker in view["workers"]]
    assert [state for state, _ in states] == ["ok", "old", "other", "away", "away", "away"]
    assert "no answer within" in states[3][1] and "Prometheus" in states[4][1] and "refused" in states[5][1]
    codes = [notice["code"] for notice in view["notices"]]
    assert codes.count("worker_away") == 3 and {"worker_old", "worker_other", "stage_away"} <= set(codes)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side gives up
    writer.close()


async def answer_rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>\xff\xff\xff")
    await writer.drain()
    writer.close()


async def test_a_worker_that_comes_back_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "ALONE_S", 0.2)
    monkeypatch.setattr(console_module, "WATCHED_S", 0.05)
    async with serving(worker_registry("ingest")) as ports:
        port = ports[0]
    async with opened(tmp_path, [port]) as (_parts, session, address):
        assert json.loads((await answer(session, address + "snapshot.json"))[2])["workers"][0]["state"] == "away"
        from streams.engine.status_server import StatusServer

        server = StatusServer(worker_registry("ingest"), host="127.0.0.1", port=port, alive=lambda: None, ready=lambda: None)
        await server.start()
        state = "away"
        for _ in range(200):
            state = json.loads((await answer(session, address + "snapshot.json"))[2])["workers"][0]["state"]
            if state == "ok":
                break
            await asyncio.sleep(0.05)
        await server.stop()
        assert state == "ok"


async def test_without_a_broker_the_page_says_what_to_do(tmp_path: Path) -> None:
    async with opened(tmp_path, [], broker=True) as (parts, _session, _address):
        parts.topics.letters.take(letter())
        problems = await until(parts.topics.problems, "no topic has a problem", seconds=20)
        assert "KAFKA_BOOTSTRAP_SERVERS" in next(iter(problems.values()))
        view = parts.topics.letters.view(parts.readings)
        assert view.rows[0].reason == "bad_time"


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    given = {"console_port": taken.sockets[0].getsockname()[1], "keys_dir": tmp_path}
    with pytest.raises(ConfigurationError, match="VEILSTREAM_CONSOLE_PORT"):
        await run_console(Settings.model_validate(given), NOBODY, asyncio.Event(), workers=[], ready=print)
    taken.close()


async def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop, addresses = asyncio.Event(), asyncio.Queue[str]()
    settings = Settings.model_validate({"console_port": 0, "keys_dir": tmp_path})
    running = asyncio.create_task(run_console(settings, NOBODY, stop, workers=["127.0.0.1:1"], ready=addresses.put_nowait))
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        address = await addresses.get()
        assert (await answer(session, address))[0] == 200
        async with session.get(address + "events") as stream:
            await stream.content.readline()
            stop.set()
            await running
