"""README.zh-CN.md says what README.md says: the same headings, code, links and figures, in the same places."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_LANGUAGES = re.compile(r"^.*(?:English|简体中文).*$", re.M)
"""The line that leads from one to the other."""


def prose(text: str) -> str:
    return _LANGUAGES.sub("", _FENCE.sub("", text), count=1)


def links(text: str) -> list[str]:
    """Where links lead; an anchor of the page itself is in its own language, and so is the picture."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    return ["#" if link.startswith("#") else link.replace(".zh-CN.svg", ".svg") for link in found]


def rows(text: str) -> list[tuple[int, list[str]]]:
    """Of each row of a table: how many cells, and its figures and code."""
    lines = re.findall(r"^\|(.*)\|$", prose(text), re.M)
    return [(line.count("|"), re.findall(r"`[^`]+`|(?<![\w@])\.?\d[\d.,]*", line)) for line in lines]


def shape(text: str) -> list[str]:
    """What each line is: a heading of which depth, an item of a list, a row of a table."""
    return re.findall(r"^(#+ |- |\d+\. |\|)", prose(text), re.M)


def test_the_same_structure() -> None:
    assert shape(CHINESE) == shape(ENGLISH)


def test_no_line_breaks_within_a_sentence() -> None:
    """A line break between two characters is shown as a space."""
    assert re.findall(r"^(?![#|-]|\d+\.).*[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]\n[\u4e00-\u9fff（].*", prose(CHINESE), re.M) == []


def test_the_same_blocks_of_code() -> None:
    assert _FENCE.findall(CHINESE) == _FENCE.findall(ENGLISH)


def test_the_same_links() -> None:
    assert links(CHINESE) == links(ENGLISH)


def test_the_same_figures_and_code_in_tables() -> None:
    assert rows(CHINESE) == rows(ENGLISH)


def test_the_same_settings_commands_and_numbers_in_sentences() -> None:
    for pattern in (r"`[^`\n]+`", r"\d[\d,]+"):
        assert sorted(re.findall(pattern, prose(CHINESE))) == sorted(re.findall(pattern, prose(ENGLISH)))


def test_each_leads_to_the_other() -> None:
    assert "(README.zh-CN.md)" in ENGLISH and "(README.md)" in CHINESE


def test_no_paragraph_is_left_in_english() -> None:
    paragraphs = [part for part in re.split(r"\n\s*\n", prose(CHINESE)) if re.search(r"[A-Za-z]{4}", part)]
    assert len(paragraphs) > 20
    assert [part for part in paragraphs if not re.search(r"[\u4e00-\u9fff]", part) and not part.startswith("# ")] == []


def test_pictures_differ_in_their_words_alone() -> None:
    english, chinese = (
        re.sub(r'>[^<>{}]+</(text|title|desc)>|xml:lang="[^"]+"', "", (ROOT / "docs" / "images" / name).read_text(encoding="utf-8"))
        for name in ("flow.svg", "flow.zh-CN.svg")
    )
    assert chinese == english


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("## 实测数据\n", ""),
        ("| .485 | .115 |", "| .485 | .151 |"),
        ("(docs/consent.md)", "(docs/audit.md)"),
        ("make demo      # runs", "make demo      # begins"),
    ],
)
def test_a_page_that_fell_behind_is_seen(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    assert before in CHINESE
    monkeypatch.setitem(globals(), "CHINESE", CHINESE.replace(before, after))
    checks = (test_the_same_structure, test_the_same_blocks_of_code, test_the_same_links, test_the_same_figures_and_code_in_tables)
    failed = 0
    for check in checks:
        try:
            check()
        except AssertionError:
            failed += 1
    assert failed == 1
