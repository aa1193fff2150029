"""XML as strangers send it: nothing is fetched or expanded, memory is bounded, and a broken item is lost alone.

The independent, slow reading is minidom's, which builds a tree of a whole well-formed document.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any
from xml.dom import minidom
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import Reason, RecordError
from streams.sources.xml_items import MAX_DEPTH, MAX_ELEMENTS, XmlItems

NAMES = frozenset({"item", "entry"})
GOOGLE = 'xmlns:g="http://base.google.com/ns/1.0"'


def read(data: bytes, step: int | None = None, **options: Any) -> list[Any]:
    """Items, and the reason and detail of what is refused."""
    reader = XmlItems(NAMES, **options)
    found: list[Any] = []
    size = step or max(1, len(data))
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    found += reader.close()
    return [(one.reason, one.detail) if isinstance(one, RecordError) else one for one in found]


def reasons(found: list[Any]) -> list[Any]:
    return [one[0] if isinstance(one, tuple) else one for one in found]


def feed(*items: str) -> bytes:
    return f"<rss {GOOGLE}><channel>{''.join(f'<item>{item}</item>' for item in items)}</channel></rss>".encode()


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "b">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY a PUBLIC "x" "http://attacker.example/">',
        '<!ENTITY % a SYSTEM "http://attacker.example/x.dtd"> %a;',
        '<!ENTITY a0 "ha"><!ENTITY a1 "&a0;&a0;"><!ENTITY a2 "&a1;&a1;">',
        '<!NOTATION n SYSTEM "n"><!ENTITY a SYSTEM "x" NDATA n>',
    ],
)
def test_a_document_that_declares_entities_is_not_read(declared: str) -> None:
    data = f"<!DOCTYPE rss [{declared}]><rss><item><id>&a;</id></item><item><id>2</id></item></rss>".encode()
    for step in (None, 1, 64):
        with pytest.raises(RecordError, match="declares entities, which is not allowed"):
            read(data, step)


def test_a_billion_laughs_cost_nothing() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    data = f'<!DOCTYPE a [<!ENTITY l0 "lol">{levels}]><a><item>&l11;</item></a>'.encode()
    begun = time.monotonic()
    with pytest.raises(RecordError):
        read(data)
    assert time.monotonic() - begun < 2


def test_an_external_definition_is_not_fetched_and_what_needs_it_is_refused() -> None:
    data = b'<!DOCTYPE rss SYSTEM "http://127.0.0.1:9/x.dtd"><rss><item><id>&euro;</id></item><item><id>2</id></item></rss>'
    assert reasons(read(data)) == [Reason.BAD_SHAPE, {"id": "2"}]


@pytest.mark.slow
def test_a_huge_feed_takes_no_more_memory_than_a_part_of_it() -> None:
    item = feed(*["<g:id>1</g:id><title>" + "x" * 1000 + "</title>"] * 50)[len(f"<rss {GOOGLE}><channel>") : -len("</channel></rss>")]
    reader = XmlItems(NAMES)
    tracemalloc.start()
    reader.feed(f"<rss {GOOGLE}><channel>".encode())
    count = 0
    for _ in range(400):  # 20 MB
        count += len(reader.feed(item))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count + len(reader.close()) - 1 == 20_000, "and one that says that it breaks off"
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "big",
    [
        "<d>" + "x" * 300_000 + "</d>",
        "<!-- " + "x" * 300_000 + " -->",
        "<d a='" + "x" * 300_000 + "'/>",
        "<d><![CDATA[" + "x" * 300_000 + "]]></d>",
        "<?x " + "x" * 300_000 + " ?>",
        "<" + "x" * 300_000 + "/>",
        "<b/>" * (MAX_ELEMENTS + 1),
        "<b>" * MAX_DEPTH + "</b>" * MAX_DEPTH,
        "<b>" * 3000 + "</b>" * 3000,
    ],
)
def test_an_item_that_is_too_large_or_too_deep_is_lost_alone(big: str) -> None:
    data = feed("<id>1</id>", f"<id>2</id>{big}", "<id>3</id>")
    for step in (None, 1000, 65_536):
        found = reasons(read(data, step, max_bytes=100_000))
        assert found[0] == {"id": "1"} and found[-1] == {"id": "3"} and len(found) == 3, found
        assert found[1] in (Reason.BAD_SHAPE, Reason.UNDECODABLE)


def test_a_part_that_never_ends_is_given_up() -> None:
    reader = XmlItems(NAMES, max_bytes=100_000)
    begun = time.monotonic()
    reader.feed(b"<rss><!-- " + b"x" * 2000)
    for _ in range(3000):
        reader.feed(b"x" * 10_000)
    assert time.monotonic() - begun < 10, "30 MB, without reading the beginning again and again"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("GBK", "gbk"),
        ("gb2312", "gbk"),
        ("GB18030", "gb18030"),
        ("Shift_JIS", "shift_jis"),
        ("UTF-16", "utf-16"),
        ("UTF-16LE", "utf-16-le"),
        ("utf-16", "utf-8"),
        ("", "utf-8"),
    ],
)
def test_encodings(declared: str, encoding: str) -> None:
    said = f' encoding="{declared}"' if declared else ""
    data = f'<?xml version="1.0"{said}?><rss><item><id>1</id><title>東京 茶</title></item></rss>'.encode(encoding)
    for step in (None, 1, 7):
        assert read(data, step) == [{"id": "1", "title": "東京 茶"}]


def test_wrong_declarations_lose_only_what_they_make_unreadable() -> None:
    items = "<rss><item><id>1</id><title>{}</title></item><item><id>2</id><title>plain</title></item></rss>"
    for declared, actual, text in (
        ("UTF-8", "gbk", "羽绒服"),
        ("UTF-8", "latin-1", "Küche"),
        ("UTF-8", "cp1252", "Bob\u2019s"),
        ("ISO-8859-1", "utf-8", "Küche"),
        ("windows-1252", "utf-8", "羽绒服"),
        ("GBK", "latin-1", "Küche é"),
    ):
        data = f'<?xml version="1.0" encoding="{declared}"?>'.encode() + items.format(text).encode(actual)
        found = read(data)
        assert found[1] == {"id": "2", "title": "plain"}
        assert found[0][0] == Reason.BAD_SHAPE and "encoding" in found[0][1], (declared, actual, found[0])
        assert read(data, encoding=actual)[0] == {"id": "1", "title": text}, "as the mapping says"


def test_an_encoding_that_is_none() -> None:
    for name in ("klingon", "base64", "zlib", "undefined", "unicode_escape", "punycode", "utf-7", "rot13"):
        with pytest.raises(RecordError, match="encoding that is not known"):
            read(f'<?xml version="1.0" encoding="{name}"?><rss><item><id>1</id></item></rss>'.encode())


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf"])
def test_nothing(data: bytes) -> None:
    assert reasons(read(data)) == [Reason.EMPTY]


@pytest.mark.parametrize("data", [b"hello", b"<", b"{}", b"\x00" * 50, b"\xff" * 50, b"PK\x03\x04", b"<a></b>"])
def test_no_xml(data: bytes) -> None:
    assert reasons(read(data)) == [Reason.UNDECODABLE]


def test_a_feed_that_breaks_off_has_given_what_came_before() -> None:
    whole = feed("<id>1</id>", "<id>2</id>", "<id>3</id>")
    for end in range(len(whole)):
        found = read(whole[:end])
        assert found[-1][0] in (Reason.UNDECODABLE, Reason.EMPTY)
        assert found[:-1] == [{"id": str(n)} for n in range(1, len(found))]
        assert len(found) - 1 == whole[:end].count(b"</item>")


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]), max_size=20)
fields = st.lists(st.tuples(st.sampled_from(["g:id", "title", "g:price", "g:image_link", "x", "itemx"]), texts), max_size=6)
broken = st.sampled_from(["&", "<", "</b>", "&nope;", "<b>", "\x0b", "<b a=>", "]]>", "<b a='1' a='2'/>", "<!DOCTYPE x>"])


def slow(data: bytes) -> list[dict[str, Any]]:
    found = []
    for element in minidom.parseString(data).getElementsByTagName("item"):  # noqa: S318 - drawn here
        item: dict[str, Any] = {}
        for child in element.childNodes:
            if child.nodeType == child.ELEMENT_NODE:
                text = "".join(part.data for part in child.childNodes).strip()
                before = item.get(child.tagName)
                item[child.tagName] = text if before is None else [*before, text] if isinstance(before, list) else [before, text]
        found.append(item)
    return found


@settings(max_examples=150)
@given(st.lists(fields, max_size=5), st.integers(1, 200), st.booleans())
def test_as_an_independent_slow_reading(items: list[list[tuple[str, str]]], step: int, cdata: bool) -> None:
    def written(text: str) -> str:
        return f"<![CDATA[{text.replace(']]>', '')}]]>" if cdata else escape(text)

    data = feed(*("".join(f"<{name}>{written(text)}</{name}>" for name, text in item) for item in items))
    assert read(data, step) == slow(data)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 999), st.none() | broken), min_size=1, max_size=8), st.integers(1, 120))
def test_a_broken_item_is_lost_alone(items: list[tuple[int, str | None]], step: int) -> None:
    data = feed(*(f"<g:id>{number}</g:id><title>t{wrong or ''}</title>" for number, wrong in items))
    wanted = [{"g:id": str(number), "title": "t"} if wrong is None else Reason.UNDECODABLE for number, wrong in items]
    assert reasons(read(data, step)) == wanted


pieces = st.lists(
    st.sampled_from(
        [b"<item>", b"</item>", b"<", b">", b"&", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"a", b"<!DOCTYPE", b'"', b"<?", b"?>"]
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(st.binary(max_size=400) | pieces.map(b"".join), st.integers(1, 50))
def test_whatever_comes_it_ends_and_chunks_do_not_matter(data: bytes, step: int) -> None:
    def outcome(size: int | None) -> Any:
        try:
            return read(data, size)
        except RecordError as error:
            return str(error)

    whole = outcome(None)
    assert [one for one in whole if isinstance(one, dict)] == [one for one in outcome(step) if isinstance(one, dict)]
