"""Real Chromium for tests of pages: the system's own, driven by Playwright, which brings no browser here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

DESKTOP, PHONE = (1440, 900), (390, 844)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. Skipped where it, or Playwright, is missing; with CI=true that is a failure."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path, missing = None, "playwright is not installed: `make test` installs it"
    else:
        missing = "Chromium is not installed: apt-get install chromium"
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    # Containers run as root, and have no sandbox of Chromium's own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


def opened(browser: Browser, address: str, size: tuple[int, int] = DESKTOP, **options: Any) -> tuple[BrowserContext, Page, list[str]]:
    """A page that shows its first view, and what the browser's log said of it: errors and warnings, and requests to elsewhere."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page, log = context.new_page(), list[str]()
    page.on("console", lambda message: log.append(f"{message.type}: {message.text}") if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: log.append(f"error: {error}"))
    page.on("dialog", lambda dialog: log.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: log.append(f"elsewhere: {request.url}") if not request.url.startswith(address) else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return context, page, log


def accessibility_findings(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical: rule, and the elements."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}" for one in serious]


def unreached_by_tab(page: Page) -> list[str]:
    """What can be used by pointer and is not reached by pressing Tab from the top of the page."""
    wanted = "a[href], button, summary, input, select, [tabindex='0']"
    count = page.evaluate(
        """(wanted) => {
            const seen = [...document.querySelectorAll(wanted)].filter((one) => one.checkVisibility());
            seen.forEach((one, place) => { one.dataset.tab = place; });
            document.activeElement?.blur();
            return seen.length;
        }""",
        wanted,
    )
    reached = set()
    for _ in range(count + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement?.dataset.tab ?? null"))
    left = [str(place) for place in range(count) if str(place) not in reached]
    return [page.evaluate("(place) => document.querySelector(`[data-tab='${place}']`)?.outerHTML.slice(0, 80)", place) for place in left]


def broken_layout(page: Page) -> list[str]:
    """Gross breakage: a page that scrolls sideways, sections without height, elements beyond the page, texts cut in the picture."""
    found: list[str] = page.evaluate(
        """() => {
            const found = [];
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth > width) found.push(`scrolls sideways: ${document.documentElement.scrollWidth}`);
            const parts = "main > section, .figure, .card, table, .picture svg, .picture text, h1, h2, .tool";
            for (const one of document.querySelectorAll(parts)) {
                if (!one.checkVisibility()) continue;
                const box = one.getBoundingClientRect();
                const name = `${one.tagName}.${one.id || one.getAttribute("class")} ${one.textContent.slice(0, 20)}`;
                if (box.width < 1 || box.height < 1) found.push(`empty: ${name}`);
                if (box.left < -1 || box.right > width + 1) found.push(`beyond the page: ${name}`);
            }
            const boxes = [...document.querySelectorAll(".picture .n-box")].map((one) => one.getBoundingClientRect());
            for (const line of document.querySelectorAll(".picture .n-line, .picture .n-name, .picture .n-rate")) {
                const box = line.getBoundingClientRect();
                const holds = (own) => box.left >= own.left && box.right <= own.right
                    && box.top >= own.top - 1 && box.bottom <= own.bottom + 1;
                if (!boxes.some(holds)) found.push(`outside its box: ${line.textContent}`);
            }
            return found;
        }"""
    )
    return found
