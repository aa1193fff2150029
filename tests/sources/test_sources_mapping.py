"""A mapping that is wrong is refused with the file, the line and what to do; none can grow, refer to itself, or be slow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.sources.loading import find_mapping, load_sources, presets
from streams.sources.mapping import load_mapping, read_mapping
from streams.sources.paths import compile_jmespath, compile_path
from streams.sources.source import Source

GOOD = "source: s\nfields: {type: t, user: u, item: i}\n"


def test_every_preset_is_read_and_says_what_it_is() -> None:
    assert {"ga4-bigquery", "ga4-measurement-protocol", "segment", "snowplow-ecommerce", "shopify-orders", "shopify-pixel"} < set(presets())
    assert {"taobao-userbehavior", "retailrocket", "uci-online-retail", "hm"} < set(presets())
    assert all(mapping.about for mapping in presets().values())


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "is empty"),
        ("source: s\n", 1, "`fields` are needed"),
        ("fields: {type: t, user: u, item: i}\n", 1, "`source`"),
        (GOOD + "colour: red\n", 3, "colour is not known"),
        (GOOD + "number: '1299.0'\n", 3, "1.299,00"),
        (GOOD + "time: {zone: Mars}\n", 3, "IANA"),
        (GOOD + "time: {format: '%Q'}\n", 3, "strptime"),
        (GOOD + "time: {unit: days}\n", 3, "ms"),
        (GOOD + "time:\n  zone: UTC\n  zone: UTC\n", 5, "twice"),
        (GOOD + "types: {a: buy}\n", 3, "purchase"),
        (GOOD + "types: [a]\n", 3, "keys and values"),
        (GOOD + "encoding: klingon\n", 3, "text encoding"),
        (GOOD + "encoding: base64\n", 3, "text encoding"),
        (GOOD + "namespace: 'a b'\n", 3, "letters"),
        (GOOD + "csv: {columns: [a, a]}\n", 3, "a name of its own"),
        (GOOD + "csv: {delimiter: '#'}\n", 3, "tab"),
        (GOOD + "lines: 'a..b'\n", 3, "character 3"),
        (GOOD + "percent_encoded: [words]\n", 3, "query"),
        ("source: S\nfields: {type: t, user: u, item: i}\n", 1, "small letters"),
        ("source: s\nfields:\n  type: t\n  item: i\n", 3, "user must be said"),
        ("source: s\nfields:\n  type: t\n  user: u\n", 3, "item or query"),
        ("source: s\nfields:\n  type: t\n  user: u\n  item: ''\n", 5, "empty"),
        ("source: s\nfields:\n  type: t\n  user: u\n  item: a[\n", 5, "character"),
        ("source: s\nfields:\n  type: t\n  user: []\n  item: a\n", 4, "from one to"),
        ("source: s\nfields:\n  type: t\n  user: {path: a, value: b}\n  item: a\n", 4, "exactly one"),
        ("source: s\nfields:\n  type: t\n  user: {jmespath: 'a['}\n  item: a\n", 4, "JMESPath"),
        ("source: s\nfields:\n  type: t\n  users: u\n  item: a\n", 4, "users is not known"),
        ("source: s\nfields: {type: t\n", 3, "no YAML"),
        ("source: &a s\nfields: {type: t, user: u, item: i}\n", 1, "anchors"),
        ("source: s\nfields: &f {type: *f, user: u, item: i}\n", 2, "anchors"),
        ("source: !!python/object/apply:os.system ['true']\n", 1, "tags"),
        ("\tsource: s", 1, "no YAML"),
        ("[" * 5000, 1, "deep"),
        ("{a: " * 500, 1, "deep"),
        ("a: " + "b" * 100_000, None, "bytes"),
        ("source: s\nfields:\n" + "".join(f"  k{n}: v\n" for n in range(6000)), None, "parts"),
        ("- a\n", 1, "keys and values"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_mapping(text, "shop.yaml")
    message = str(raised.value)
    assert says in message and message.startswith("shop.yaml")
    if line is not None:
        assert message.startswith(f"shop.yaml line {line}:")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigurationError, match=r"shop\.yaml"):
        read_mapping(b"source: \xff\xfe\x00", "shop.yaml")


def test_yaml_has_no_booleans_here() -> None:
    mapping = read_mapping("source: on\nfields: {type: t, user: u, item: i}\ntypes: {yes: view, no: cart, 1: purchase}\n", "f")
    assert (mapping.name, dict(mapping.types or {})) == ("on", {"yes": "view", "no": "cart", "1": "purchase"})


def test_paths() -> None:
    record = {"a": {"b": [{"k": "x", "v": 1}, {"k": "y", "v": 2}], "c d": 3, "é": 4}, "n": None}
    wanted = {"a.b[1].v": 2, "a.b[k=x].v": 1, 'a."c d"': 3, "a.é": 4, "a.b[9].v": None, "a.b.v": None, "n.x": None, "a.b[k=z].v": None}
    assert {path: compile_path(path)(record) for path in wanted} == wanted
    for path in ("a", "a.b", "a.b.c.d"):
        assert compile_path(path)([]) is None and compile_path(path)("text") is None


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", 'a"b', "a b", "a" * 200, ".".join("a" * 13)])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        compile_path(path)


def test_expressions() -> None:
    assert compile_jmespath("items[?kind=='x'].id | [0]")({"items": [{"kind": "y"}, {"kind": "x", "id": 7}]}) == 7
    assert compile_jmespath("join('-', a)")({"a": ["x", "y"]}) == "x-y"
    assert compile_jmespath("join('-', a)")({"a": 5}) is None
    assert compile_jmespath("length(@)")(5) is None


@pytest.mark.parametrize(
    "expression",
    [
        "a[", "", "foo(", "sort_by(a, &b)", "map(&a, b)", "[@, @] | [@, @] | [@, @]", "{a: @, b: @}", "max_by(a, &b)", "reverse(a)",
        "a[].b[].c[].d[].e[]", "a" * 513, "a." * 80 + "a", "nope(a)", "((((((((((" * 40,
    ],
)  # fmt: skip
def test_expressions_that_could_grow_or_are_none(expression: str) -> None:
    with pytest.raises(ValueError, match=r"JMESPath|available|large|characters"):
        compile_jmespath(expression)


def test_the_slowest_mapping_is_still_quick() -> None:
    """Every field an expression with three loops, over a record as large as is read."""
    expression = "{jmespath: \"a[].b[?c=='x'].d[].e | [0]\"}"
    names = ("type", "user", "item", "query", "time", "session", "region", "price", "quantity", "position", "currency", "event_id")
    mapping = read_mapping("source: s\nfields:\n" + "".join(f"  {name}: {expression}\n" for name in names), "f")
    record = {"a": [{"b": [{"c": "x", "d": [{"f": 1}] * 20}] * 20}] * 40}
    begin = time.perf_counter()
    with pytest.raises(Exception, match="unknown_event_type"):
        raise Source(mapping).events(record)[0]  # type: ignore[misc]
    assert time.perf_counter() - begin < 2


def test_mappings_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    (tmp_path / "segment.yaml").write_text(GOOD.replace("source: s", "source: segment\nabout: ours"))
    known = load_sources(tmp_path)
    assert known["s"].mapping.name == "s"
    assert known["segment"].mapping.about == "ours"
    assert set(presets()) < set(known)
    assert find_mapping("s", tmp_path).name == "s"
    assert find_mapping(str(tmp_path / "mine.yaml")).name == "s"
    (tmp_path / "twice.yml").write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"mine\.yaml and .*twice\.yml"):
        load_sources(tmp_path)
    for missing in (tmp_path / "none", tmp_path / "mine.yaml"):
        with pytest.raises(ConfigurationError, match="no folder"):
            load_sources(missing)
    with pytest.raises(ConfigurationError, match="is no source; there are"):
        find_mapping("nothing")
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_mapping(tmp_path / "no.yaml")
