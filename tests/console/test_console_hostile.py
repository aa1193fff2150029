"""In real Chromium: what hostile producers write stays text; themes, languages, a pause, a lost connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streams.console.topics import Topics
from tests.support.chromium import PHONE, accessibility_findings, broken_layout, chromium, opened, unreached_by_tab
from tests.support.console_pages import console_thread, control, letter, recommendation, worker_registry

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "{{page.title}} ${alert(3)} javascript:alert(4)",
    "a\u202egnp.exe\u2066\u200b\x1b[31m",
    "W" * 5_000,
    "__proto__",
    "constructor",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def feed(topics: Topics) -> None:
    for number, text in enumerate(HOSTILE):
        topics.titles.put(f"item {number}", text)
        topics.latest.take(
            f"0/{number}", 1_000 + number, recommendation(f"item {number}", policy=text, trigger_type=text, model_version=text)
        )
        topics.letters.take(letter(text, stage=text, source_topic=text, detail=text))
        topics.rounds.take(control(f"{number}" * 8, text, 1_000, cause=text, reason=text, verdict=text, model_version=text))
        announcement = {"channel": text, "model_version": text, "counter": 1, "announced_at": 1, "metrics": {text: 1.0}}
        topics.announced.take({**announcement, "canary_share": 0.5, "reason": text, "withdrawn": False}, is_verified=False)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    registries = [worker_registry(stage) for stage in ("ingest", "profile", "trainer")]
    with console_thread(tmp_path_factory.mktemp("console"), registries, feed) as found:
        yield found


def test_what_is_hostile_stays_text(browser: Browser, address: str) -> None:
    for size in ((1440, 900), PHONE):
        context, page, log = opened(browser, address, size)
        page.wait_for_timeout(300)
        assert log == []
        assert page.locator("main img, main script, main iframe, [onerror], [href^='javascript:']").count() == 0
        text = page.locator("main").inner_text()
        assert "<img src=x onerror=alert(1)>" in text and "\\u202e" in text and "secret" not in page.content()
        assert not any(letter in page.content() for letter in "\u202e\u2066\u200b\x1b")
        assert broken_layout(page) == []
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_every_theme_and_language_can_be_read_by_all(browser: Browser, address: str, scheme: str, language: str) -> None:
    context, page, log = opened(browser, address, color_scheme=scheme, locale=language)
    assert page.locator("html").get_attribute("lang") == language[:2]
    assert accessibility_findings(page) == [] and log == []
    context.close()


def test_the_checks_find_what_is_broken(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(
        "<html lang=en><title>x</title><main><section><h1 style='color:#ccc;background:#fff'>pale</h1></section><section></section>"
        "<div class=card style='width:3000px'>wide</div><button tabindex=-1>never reached</button><a href='#'>reached</a><img src=x></main>"
    )
    assert [finding.split(":")[0] for finding in accessibility_findings(page)] == ["color-contrast", "image-alt"]
    assert [finding.split(":")[0] for finding in broken_layout(page)] == ["scrolls sideways", "empty", "beyond the page"]
    assert len(unreached_by_tab(page)) == 1
    page.close()


def test_theme_and_language_are_switched(browser: Browser, address: str) -> None:
    context, page, _ = opened(browser, address, color_scheme="light", locale="en-GB")

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == "light" and ground() == light
    page.locator("#theme").click()
    assert ground() != light
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator("html").get_attribute("data-theme") == "dark", "the choice is kept"
    page.locator("#language").click()
    page.wait_for_selector("html[lang=zh] body[data-ready]")
    assert page.locator("#h-flow").inner_text() == "数据流"
    context.close()


def test_the_list_is_held_while_paused(browser: Browser, address: str) -> None:
    context, page, _ = opened(browser, address, locale="en-GB")
    page.locator("#pause").click()
    assert page.locator("#pause").get_attribute("aria-pressed") == "true" and page.locator("#pause").inner_text() == "Go on"
    page.evaluate("document.querySelector('.rec .title').textContent = 'held'")
    page.wait_for_timeout(6_500)
    assert page.locator(".rec .title").first.inner_text() == "held"
    page.locator("#pause").click()
    page.mouse.move(0, 0)
    page.wait_for_function("document.querySelector('.rec .title').textContent !== 'held'", timeout=20_000)
    context.close()


def test_nothing_moves_where_motion_is_not_wanted(browser: Browser, address: str) -> None:
    context, page, _ = opened(browser, address, reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().length") == 0
    context.close()


def test_a_console_that_ended_is_told(browser: Browser, tmp_path: Path) -> None:
    with console_thread(tmp_path, [worker_registry("ingest")], lambda topics: None) as found:
        context, page, _ = opened(browser, found)
        assert page.locator("#live").get_attribute("data-state") == "live"
        empty = page.locator(".empty").all_inner_texts()
        assert any("veilstream replay" in text for text in empty) and any("veilstream trainer" in text for text in empty)
    page.wait_for_selector("#live[data-state=lost]")
    assert "veilstream console" in page.locator("#summary").inner_text()
    context.close()
