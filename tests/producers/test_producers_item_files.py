"""Feeds as files: gzipped, in other encodings, with ids that come again, and files that are none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.producers.csv_files import ReadReport, read_items
from streams.producers.fitting import fitting
from streams.producers.item_fitting import item_fitting
from streams.sources.loading import item_presets
from tests.support.item_feeds import from_file

RSS = b'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>%s</channel></rss>'
ITEM = b"<item><g:id>%d</g:id><title>Cup</title><g:price>1 EUR</g:price></item>"
TSV = "id\ttitle\tprice\n1\t羽绒服\t199.00 CNY\n2\tCup\t5 CNY\n"
CSV = "Handle,Title,Variant SKU,Variant Price,Image Src\ncup,Cup,C1,5.00,\ncup,,C2,6.00,\n,,,,\nmug,Mug,M1,7.00,\ncup,,C3,8.00,\n"
PRODUCTS = {"products": [{"id": n, "title": f"Cup {n}", "variants": [{"id": 10 * n, "price": "5.00"}]} for n in range(1, 4)]}


def test_gzipped_xml_in_chunks(tmp_path: Path) -> None:
    data = RSS % b"".join(ITEM % n for n in range(5000))
    items, refused = from_file(tmp_path / "feed.xml.gz", gzip.compress(data), "google-merchant")
    assert [item["item_id"] for item in items] == [str(n) for n in range(5000)] and refused == []


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    data = RSS % b"".join(ITEM % n for n in range(100))
    items, refused = from_file(tmp_path / "feed.xml", data[:-40], "google-merchant")
    assert (len(items), len(refused)) == (99, 1) and "breaks off" in refused[0]
    whole = gzip.compress(data)
    with pytest.raises(ConfigurationError, match="breaks off or is damaged"):
        from_file(tmp_path / "feed.xml.gz", whole[: len(whole) // 2], "google-merchant")


def test_entities_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"feed\.xml is not read: the XML declares entities"):
        from_file(tmp_path / "feed.xml", b'<!DOCTYPE a [<!ENTITY x "y">]><a><item/></a>', "google-merchant")


def test_xml_without_items(tmp_path: Path) -> None:
    items, refused = from_file(tmp_path / "feed.xml", b"<html><body>404</body></html>", "google-merchant")
    assert items == [] and refused == ["the XML holds none of entry, item"]


def test_text_in_another_encoding(tmp_path: Path) -> None:
    items, refused = from_file(tmp_path / "feed.txt", TSV.encode("gbk"), "google-merchant-tsv")
    assert [item["item_id"] for item in items] == ["2"] and refused == ["a line is not UTF-8; save the file as UTF-8"]
    mine = "source: mine\nkind: items\nformat: csv\ncsv: {delimiter: tab}\nencoding: gbk\nfields: {item: id, title: title, price: price}\n"
    items, refused = from_file(tmp_path / "feed.txt", TSV.encode("gbk"), mine)
    assert [item["title"] for item in items] == ["羽绒服", "Cup"] and refused == []
    with pytest.raises(ConfigurationError, match="is UTF-16; save it as UTF-8"):
        from_file(tmp_path / "feed.txt", TSV.encode("utf-16"), "google-merchant-tsv")


def test_an_id_that_comes_again(tmp_path: Path) -> None:
    items, refused = from_file(tmp_path / "feed.xml", RSS % (ITEM % 1 + ITEM % 2 + ITEM % 1), "google-merchant")
    assert [item["item_id"] for item in items] == ["1", "2"]
    assert refused == ["duplicate_item: an item of this id has come before; the first counts"]


def test_rows_of_a_handle_that_are_apart(tmp_path: Path) -> None:
    items, refused = from_file(tmp_path / "p.csv", CSV.encode(), "shopify-products-csv")
    assert [(item["item_id"], item["title"], item["group_id"]) for item in items] == [
        ("C1", "Cup", "cup"),
        ("C2", "Cup", "cup"),
        ("M1", "Mug", "mug"),
    ]
    assert refused == ["bad_title: the record has no title where the mapping looks for it"]


def test_json_on_many_lines_and_on_one(tmp_path: Path) -> None:
    for data in (json.dumps(PRODUCTS), json.dumps(PRODUCTS, indent=2), "\n".join(map(json.dumps, PRODUCTS["products"]))):
        items, refused = from_file(tmp_path / "p.json", data.encode(), "shopify-products")
        assert ([item["item_id"] for item in items], refused) == (["1", "2", "3"], [])


def test_columns_that_are_missing_or_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no column title; its first line must name the columns, separated by tabs"):
        from_file(tmp_path / "feed.txt", b"id\tname\n1\tCup\n", "google-merchant-tsv")
    with pytest.raises(ConfigurationError, match="has column title twice"):
        from_file(tmp_path / "feed.txt", b"id\ttitle\ttitle\n1\tCup\tCup\n", "google-merchant-tsv")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (RSS % (ITEM % 1), "google-merchant"),
        (b"\xef\xbb\xbf" + RSS % (ITEM % 1), "google-merchant"),
        (TSV.encode(), "google-merchant-tsv"),
        (json.dumps(PRODUCTS).encode(), "shopify-products"),
        (json.dumps(PRODUCTS, indent=2).encode(), "shopify-products"),
        (json.dumps(PRODUCTS | {"x": "y" * 2_000_000}, indent=2).encode(), "shopify-products"),
        (CSV.encode(), "shopify-products-csv"),
        (b"item,title\n1,Cup\n", None),
        (b"", None),
        (b"<html></html>", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_which_preset_fits(tmp_path: Path, data: bytes, wanted: str | None) -> None:
    path = tmp_path / "feed"
    path.write_bytes(data)
    assert item_fitting(path) == wanted
    assert fitting(path) is None, "no preset of events reads a catalogue"


def test_a_feed_without_a_mapping_is_told_which_one_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(RSS % (ITEM % 1))
    with pytest.raises(ConfigurationError, match="it looks like google-merchant: try `--items-source google-merchant`"):
        list(read_items(path, ReadReport()))
    assert [item["item_id"] for item in read_items(path, ReadReport(), item_presets()["google-merchant"])] == ["1"]


def test_the_products_own_columns_have_groups_and_pictures(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item,title,group_id,image_links\n1,Cup,cups,https://a/1|https://a/2\n2,Mug,,\n")
    found = list(read_items(path, ReadReport()))
    assert [(item["group_id"], item["image_links"]) for item in found] == [("cups", ["https://a/1", "https://a/2"]), (None, [])]
