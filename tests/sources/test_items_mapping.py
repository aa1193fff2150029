"""Mappings of items: what is wrong is told with file and line; HTML becomes text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError, RecordError
from streams.sources.html_text import text_of_html
from streams.sources.item_mapping import read_item_mapping
from streams.sources.item_source import ItemSource
from streams.sources.loading import find_item_mapping, find_mapping, item_presets, load_mappings, presets
from streams.sources.mapping import read_mapping

GOOD = "source: s\nkind: items\nfields: {item: id, title: name}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("source: s\nfields: {item: id, title: t}", "m.yaml line 1: this is a mapping of events, and one of items"),
        ("source: s\nkind: things\nfields: {}", "m.yaml line 2: kind: must be one of events, items"),
        ("source: s\nkind: items\nfields: {item: id}", "line 3: fields: title must be said"),
        ("source: s\nkind: items\nfields: {title: t}", "line 3: fields: item must be said"),
        (GOOD + "types: {a: view}", "types is not known"),
        (GOOD + "gather: Handle", "is for `format: csv`"),
        (GOOD + "xml: {elements: item}", "is for `format: xml`"),
        (GOOD + "format: xml\nxml: {elements: 'a b'}", "line 5: xml: `elements` are names of XML elements"),
        (GOOD + "format: xml\nxml: {elements: []}", "`elements` are names"),
        (GOOD + "titles: {german language: t}", "a language is a tag such as de"),
        (GOOD + "words: {maybe: [x]}", "maybe is not known"),
        (GOOD + "words: {yes: [' ']}", "are lists of at most"),
        (GOOD + "html: price", "must be one of title, description"),
        (GOOD + "separators: {tags: ''}", "one to four characters"),
        (GOOD + "same_item: guess", "must be one of refuse, merge"),
        (GOOD + "number: 1x", "must be one of"),
        (GOOD + "encoding: base64", "is no text encoding"),
        ("source: s\nkind: items\nfields: {item: 'a..b', title: t}", "the path is wrong at character"),
        ("source: s\nkind: items\nfields: {item: {jmespath: 'sort(a)'}, title: t}", "not available"),
        ("source: s\nkind: items\nfields: {item: id, title: t, images: [" + "a," * 20 + "a]}", "at most 12 are possible"),
    ],
)
def test_wrong_mappings(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_item_mapping(text, "m.yaml")
    assert problem in str(error.value)


def test_a_mapping_of_items_is_none_of_events(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="this is a mapping of items, and one of events is needed"):
        read_mapping(GOOD, "m.yaml")
    (tmp_path / "m.yaml").write_text(GOOD)
    (tmp_path / "e.yaml").write_text("source: google-merchant\nfields: {type: t, user: u, item: i}")
    known = load_mappings(tmp_path)
    assert "s" in known.items and "google-merchant" in known.events and "google-merchant" not in known.items
    assert find_item_mapping("s", tmp_path).name == find_item_mapping(str(tmp_path / "m.yaml")).name == "s"
    with pytest.raises(ConfigurationError, match="use `--items-source`"):
        find_mapping("s", tmp_path)
    with pytest.raises(ConfigurationError, match="use `--source`"):
        find_item_mapping("segment")
    with pytest.raises(ConfigurationError, match="nothing is no source of items; there are google-merchant, "):
        find_item_mapping("nothing")
    assert not presets().keys() & item_presets().keys()


def value(text: str, record: Any) -> dict[str, Any]:
    (line,) = ItemSource(read_item_mapping(text, "m.yaml")).items(record, 0)
    if isinstance(line, RecordError):
        raise line
    return line


@pytest.mark.parametrize("wrong", [1.5, True, {"a": 1}, [[1]]])
@pytest.mark.parametrize("field", ["id", "name"])
def test_ids_and_titles_that_are_none(field: str, wrong: Any) -> None:
    with pytest.raises(RecordError, match="wrong type"):
        value(GOOD, {"id": "1", "name": "t"} | {field: wrong})


@pytest.mark.parametrize("record", [None, 1, "x", [], [{}]])
def test_records_that_are_none(record: Any) -> None:
    with pytest.raises(RecordError, match="not an object"):
        value(GOOD, record)


def test_words_and_placeholders_of_ones_own() -> None:
    text = (
        GOOD.replace("title: name", "title: name, availability: a, state: s")
        + "words: {yes: [Lieferbar], no: [weg]}\nplaceholders: {item: [LEER]}\n"
    )
    assert (
        value(text, {"id": 1, "name": "t", "a": "lieferbar"})["in_stock"]
        and not value(text, {"id": 1, "name": "t", "a": "Weg"})["in_stock"]
    )
    assert value(text, {"id": 1, "name": "t", "s": "weg"})["blocked"]
    with pytest.raises(RecordError, match="no item id"):
        value(text, {"id": "leer", "name": "t"})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two<br>Three</p>", "One Two Three"),
        ("<b>bo</b>ld &amp; <i>it</i>alic", "bold & italic"),
        ("<style>p{}</style><script>alert('x')</script>Shown<!-- not -->", "Shown"),
        ("<script>if (a < b) {</script>after", "after"),
        ("<iframe src=x>in</iframe>out", "out"),
        ("5 < 6 and 7 > 6 & so", "5 < 6 and 7 > 6 & so"),
        ("&lt;b&gt; &#169; &eacute; &nbsp;x", "<b> © é x"),
        ("<p", ""),
        ("<p>a<p", "a"),
        ('<a title="a > b" href=x>y</a>', "y"),
        ("a<![if !IE]>b<![endif]>c", "abc"),
        ("<![CDATA[<p>x</p>]]>", "x"),
        ("I <3 you, <3", "I <3 you, <3"),
        ("&#" + "9" * 5000 + "; &#x110000; &bogus;", "\ufffd &bogus;"),
        ("<a href='x\">y", "y"),
        ("plain  text\n", "plain text"),
        ("<ul><li>a<li>b</ul>", "a b"),
        ("</script>x", "x"),
    ],
)
def test_html(html: str, text: str) -> None:
    assert text_of_html(html) == text


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["<", ">", "p", "/", "script", "&", "#", ";", '"', "!--", "-->", "<![", "]]>", " "])).map("".join)
)
def test_any_text_has_a_text(html: str) -> None:
    found = text_of_html(html)
    assert found == " ".join(found.split())


def test_a_product_of_many_variants_has_its_description_read_once() -> None:
    source = ItemSource(item_presets()["shopify-variants"])
    product = {"id": 1, "title": "t", "body_html": "<p>x</p>" * 30_000, "variants": [{"id": n, "price": "1.00"} for n in range(1000)]}
    begun = time.monotonic()
    assert len(source.items(product, 0)) == 1000
    assert time.monotonic() - begun < 5


def test_much_html_takes_no_long_time() -> None:
    begun = time.monotonic()
    for piece in ("<p>", "<", "&", "<!--", "<a b=", "<a '", '<a "', "</script", "<script>", "&#", "<![CDATA[", "<!", "<?", "</a ", "&#9"):
        text_of_html(piece * 100_000)
    assert time.monotonic() - begun < 5
