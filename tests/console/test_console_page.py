"""The page's files: small, complete in both languages, with no outside address and no way from text to HTML."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from streams.console.language import LANGUAGES
from streams.console.notices import CODES
from streams.errors import Reason, Refusal
from tests.support import ROOT

FOLDER = ROOT / "streams" / "console" / "page"
FILES = sorted(FOLDER.iterdir())
STRINGS: dict[str, dict[str, str]] = {language: json.loads((FOLDER / f"{language}.json").read_text("utf-8")) for language in LANGUAGES}
SCRIPTS = "\n".join(path.read_text("utf-8") for path in FILES if path.suffix == ".js")
INDEX = (FOLDER / "index.html").read_text("utf-8")
NAMESPACE = "http://www.w3.org/2000/svg"


def test_the_page_weighs_little() -> None:
    assert sum(path.stat().st_size for path in FILES) < 150_000, "under 300 kB with the first views"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_an_outside_address(path: Path) -> None:
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", path.read_text("utf-8").replace(NAMESPACE, ""))


def test_pictures_of_it_are_small() -> None:
    pictures = [path.stat().st_size for path in (ROOT / "docs" / "images").glob("console*")]
    assert len(pictures) >= 3 and max(pictures) < 200_000


def test_no_text_becomes_html_and_no_script_or_style_is_inline() -> None:
    assert not re.search(r"(inner|outer)HTML\s*=[^=]|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser", SCRIPTS)
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:", INDEX)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", INDEX))
    assert "cookie" not in SCRIPTS


def test_both_languages_say_the_same_things() -> None:
    english, chinese = STRINGS["en"], STRINGS["zh"]
    assert english.keys() == chinese.keys()
    for name in english:
        assert english[name] and chinese[name]
        places = [sorted(re.findall(r"\{\w+\}", strings[name])) for strings in (english, chinese)]
        assert places[0] == places[1], name
        assert english[name].count("`") == chinese[name].count("`") and english[name].count("`") % 2 == 0, name


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = set(re.findall(r'\b(?:t|rich|empty)\(\s*"([a-z_.]+)"', SCRIPTS)) | set(re.findall(r"\{\{([a-z_.]+)\}\}", INDEX)) - {"lang"}
    assert len(asked) > 100
    assert [name for name in sorted(asked) if name not in STRINGS["en"] and f"{name}.empty" not in STRINGS["en"]] == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_dead_letter_has_what_to_do(reason: Reason) -> None:
    assert {f"remedy.{reason}", f"reason_code.{reason}"} <= STRINGS["en"].keys()


def test_every_notice_and_refusal_has_its_words() -> None:
    assert {f"notice.{code}{more}" for code in CODES for more in ("", ".todo")} <= STRINGS["en"].keys()
    assert {f"refusal.{refusal}" for refusal in Refusal} <= STRINGS["en"].keys()


def test_every_setting_that_a_text_names_is_one() -> None:
    from streams.settings import Settings

    named = set(re.findall(r"VEILSTREAM_[A-Z_]+", json.dumps(STRINGS)))
    assert {name.removeprefix("VEILSTREAM_").lower() for name in named} <= set(Settings.model_fields)
