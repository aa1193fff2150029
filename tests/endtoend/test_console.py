"""The console beside a running demo, in real Chromium: every section has data, quickly, and for everybody."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from streams.app import STAGES
from tests.support.chromium import DESKTOP, PHONE, accessibility_findings, broken_layout, chromium, opened, unreached_by_tab
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the console of a demo that runs. After the browser: where there is none, no demo is needed."""
    folder = tmp_path_factory.mktemp("demo")
    command = ["demo", "--keep", "--console", "--shoppers", "150", "--items", "400", "--out", str(folder)]
    with (folder / "printed").open("wb") as printed:
        demo = subprocess.Popen(
            [sys.executable, "-m", "streams.cli.main", *command],
            env={**os.environ, "VEILSTREAM_MODEL": "hashing", "VEILSTREAM_THRESHOLD": "-10", "COLUMNS": "200"},
            cwd=folder,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
    try:
        said = lambda: (folder / "printed").read_text(encoding="utf-8")  # noqa: E731
        found = wait_until(lambda: re.search(r"the console is at (\S+)", said()), said)
        wait_until(lambda: has_data(found[1]), said, seconds=90, every_s=0.5)
        yield found[1]
    finally:
        os.killpg(demo.pid, signal.SIGKILL)
        demo.wait()


def view_of(address: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"{address}snapshot.json", timeout=5) as answer:  # noqa: S310 - of this machine
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return None


def has_data(address: str) -> bool:
    view = view_of(address)
    return (
        view is not None
        and len(view["recommendations"]) >= 9
        and bool(view["dead_letters"]["rows"])
        and any(version["seen"] for version in view["models"]["versions"])
        and view["privacy"]["audit"]["state"] == "right"
    )


def test_every_part_of_the_view_has_data(address: str) -> None:
    def calm() -> dict[str, Any] | None:
        """A view in which every worker has answered in time: on a busy machine one may not."""
        view = view_of(address)
        return view if view is not None and all(worker["state"] == "ok" for worker in view["workers"]) else None

    view = wait_until(calm, "every worker answers")
    assert view is not None
    assert {stage for worker in view["workers"] for stage in worker["stages"]} == set(STAGES)
    assert [worker["state"] for worker in view["workers"]] == ["ok"] * len(STAGES)
    stages = {stage["name"]: stage for stage in view["flow"]["stages"]}
    assert all(stages[name]["rate"] > 0 and stages[name]["p50_ms"] > 0 for name in ("ingest", "profile", "feedback"))
    assert stages["trainer"]["state"] == "none", "a demo without a trainer"
    assert all(value is not None for value in view["flow"]["topics"].values())
    items = [item for one in view["recommendations"] for item in one["items"]]
    assert items and all(item["title"] for item in items), "the catalogue's titles"
    assert any(reason["kind"] == "item" for item in items for reason in item["reasons"])
    assert {consent["purpose"] for consent in view["privacy"]["consents"]} == {"personalization", "training"}
    assert view["privacy"]["widened"] and view["privacy"]["audit"]["links"] > 100
    assert {notice["code"] for notice in view["notices"]} <= {"stage_behind"}, "which a busy machine may be"
    pseudonyms = re.findall(r"k\d+\.[a-z2-7]{10,}", json.dumps(view))
    assert pseudonyms == []


@pytest.mark.parametrize(("size", "scheme", "language"), [(DESKTOP, "light", "en-GB"), (PHONE, "dark", "zh-CN")], ids=["desktop", "phone"])
def test_the_page_in_a_browser(browser: Browser, address: str, size: tuple[int, int], scheme: str, language: str) -> None:
    # What the browser does on its very first page is no matter of this one; and other tests share the machine.
    painted = []
    for _ in range(4):
        warm, page, _ = opened(browser, address)
        painted.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        warm.close()
    assert min(painted) < 1_000, "milliseconds"
    context, page, log = opened(browser, address, size, color_scheme=scheme, locale=language)
    weight = page.evaluate(
        "[performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]"
        ".filter((one) => !one.name.endsWith('/events')).reduce((sum, one) => sum + one.transferSize, 0)"
    )
    view = view_of(address)
    assert 30_000 < weight + len(json.dumps(view)) < 300_000, "bytes, with the first view"
    assert page.locator(".rec").count() >= 4 and page.locator(".rec .why li").count() >= 4
    assert page.locator("#letter-rows tbody tr").count() >= 3
    assert page.locator("#versions tbody tr").count() >= 1
    assert broken_layout(page) == []
    assert accessibility_findings(page) == []
    assert unreached_by_tab(page) == []
    before = page.locator("#figures").inner_text()
    page.wait_for_function("(before) => document.querySelector('#figures').innerText !== before", arg=before, timeout=20_000)
    assert broken_layout(page) == []
    assert log == []
    context.close()
