"""Files as they are published: other columns, other separators, no names, other encodings, JSON of all kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from streams.errors import ConfigurationError
from streams.producers.csv_files import ReadReport, read_events
from streams.producers.fitting import fitting
from streams.serde import local_codecs
from streams.sources.loading import find_mapping, presets
from streams.sources.mapping import SourceMapping, read_mapping
from streams.topics import BEHAVIOUR_RAW

RETAIL = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"
    'C536379,D,"Discount, \xa3",-1,12/1/2010 9:41,27.5,14527,United Kingdom\n'
    "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom\n"
).encode("latin-1")
GA4_ROW = {
    "event_name": "purchase",
    "event_timestamp": "1795755600000000",
    "event_bundle_sequence_id": "1",
    "user_pseudo_id": "1.2",
    "items": [{"item_id": "A", "quantity": "2", "price": 9.5}, {"item_id": "B", "quantity": "1", "price": 3}],
}


def events(path: Path, data: bytes, mapping: SourceMapping) -> tuple[list[dict[str, Any]], ReadReport]:
    path.write_bytes(data)
    report = ReadReport()
    found = list(read_events(path, report, mapping))
    codec = local_codecs().for_topic(BEHAVIOUR_RAW)
    assert all(codec.decode(codec.encode(event)) for event in found)
    return found, report


def test_the_retail_set_as_it_is_published(tmp_path: Path) -> None:
    found, report = events(tmp_path / "e.csv", RETAIL, presets()["uci-online-retail"])
    assert [(e["user_id"], e["event_type"], e["item_id"], e["quantity"], e["price"], e["currency"]) for e in found] == [
        ("17850", "purchase", "85123A", 6.0, 2.55, "GBP"),
        ("14527", "return", "D", 1.0, 27.5, "GBP"),
        ("null", "purchase", "22139", 56.0, 0.0, "GBP"),
    ]
    assert [e["occurred_at"] for e in found] == [1_291_191_960_000, 1_291_196_460_000, 1_291_204_320_000]
    assert report.broken == {}
    again, _ = events(tmp_path / "other.csv", RETAIL + RETAIL.splitlines(keepends=True)[1], presets()["uci-online-retail"])
    assert [e["event_id"] for e in again[:3]] == [e["event_id"] for e in found]
    assert len({e["event_id"] for e in again}) == 4, "two equal rows are two events"


@pytest.mark.parametrize(("delimiter", "mark"), [(";", ";"), ("tab", "\t"), ("|", "|")])
@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "utf-8-sig"])
def test_separators_and_encodings(tmp_path: Path, delimiter: str, mark: str, encoding: str) -> None:
    mapping = read_mapping(
        f'source: s\nformat: csv\ncsv: {{delimiter: "{delimiter}"}}\nencoding: {encoding.removesuffix("-sig")}\nnumber: "1.299,00"\n'
        "fields: {type: {value: purchase}, user: 用户, item: 商品, price: 价格}\n",
        "f",
    )
    text = mark.join(["用户", "商品", "价格"]) + "\r\n" + mark.join(["甲", f'"羽绒服{mark}""红"""', "1.299,00"]) + "\r\n\r\n"
    found, report = events(tmp_path / "e.csv", text.encode(encoding), mapping)
    assert [(e["user_id"], e["item_id"], e["price"]) for e in found] == [("甲", f'羽绒服{mark}"红"', 1299.0)]
    assert report.broken == {}


def test_a_file_without_names(tmp_path: Path) -> None:
    found, report = events(tmp_path / "e.csv", b"1,2268318,2520377,pv,1511544070\n1,2,3,fav,x\n1,2,3\n", presets()["taobao-userbehavior"])
    assert [(e["event_type"], e["occurred_at"]) for e in found] == [("view", 1_511_544_070_000)]
    assert [reason.split(":")[0] for reason in report.broken] == ["bad_time", "fewer fields than columns"]


def test_lines_that_are_refused_are_counted_and_left_out(tmp_path: Path) -> None:
    data = b"timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n1433221332117,1,teleport,2,\n"
    found, report = events(tmp_path / "e.csv", data, presets()["retailrocket"])
    assert [e["occurred_at"] for e in found] == [1_433_221_332_117]
    assert report.lines() == [
        "left out 1 row: unknown_event_type: the event type is not in `types` of the source's mapping (first: e.csv line 3)"
    ]


def test_hm(tmp_path: Path) -> None:
    data = b"t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,000058a12d5b43e67d225668fa1f8d61,0663713001,0.0508,2\n"
    (event,) = events(tmp_path / "e.csv", data, presets()["hm"])[0]
    assert (event["item_id"], event["price"], event["occurred_at"]) == ("0663713001", None, 1_537_401_600_000)


@pytest.mark.parametrize("form", ["lines", "array", "pretty", "gzip", "bom"])
def test_json_of_all_kinds(tmp_path: Path, form: str) -> None:
    rows = [GA4_ROW, GA4_ROW | {"event_name": "page_view"}, GA4_ROW | {"event_name": "view_item", "items": [{"item_id": "C"}]}]
    lines = "\n".join(map(json.dumps, rows)).encode()
    data = {
        "lines": lines + b"\n\n",
        "array": json.dumps(rows).encode(),
        "pretty": json.dumps(rows, indent=2).encode(),
        "gzip": gzip.compress(lines),
        "bom": b"\xef\xbb\xbf" + lines,
    }[form]
    found, report = events(tmp_path / "e.json", data, presets()["ga4-bigquery"])
    assert [(e["event_type"], e["item_id"]) for e in found] == [("purchase", "A"), ("purchase", "B"), ("view", "C")]
    assert report.broken == {}


def test_lines_of_json_that_are_none(tmp_path: Path) -> None:
    data = b"{bad\n" + json.dumps(GA4_ROW).encode() + b"\n[1, 2]\n\xff\xfe\n"
    found, report = events(tmp_path / "e.json", data, presets()["ga4-bigquery"])
    assert len(found) == 2
    assert sum(report.broken.values()) == 3


def test_an_empty_file(tmp_path: Path) -> None:
    assert events(tmp_path / "e.json", b"", presets()["ga4-bigquery"])[0] == []
    with pytest.raises(ConfigurationError, match="has no column"):
        events(tmp_path / "e.csv", b"", presets()["retailrocket"])


@pytest.mark.parametrize(
    ("data", "preset"),
    [
        (RETAIL, "uci-online-retail"),
        (b"1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n", "taobao-userbehavior"),
        (b"timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n", "retailrocket"),
        (b"t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,0000,0663713001,0.05,2\n", "hm"),
        (json.dumps(GA4_ROW).encode(), "ga4-bigquery"),
        (json.dumps([GA4_ROW, GA4_ROW]).encode(), "ga4-bigquery"),
        (b'{"type": "track", "event": "Product Viewed", "userId": "u", "properties": {"product_id": "1"}}\n', "segment"),
        (
            b'{"id": 1, "customer": {"id": 2}, "created_at": "2026-01-01", "line_items": [{"product_id": 3, "quantity": 1}]}',
            "shopify-orders",
        ),
        (b'{"client_id": "1.2", "events": [{"name": "view_item", "params": {"items": [{"item_id": "A"}]}}]}', "ga4-measurement-protocol"),
        (b"ts,user,event_type,item\n1,u,view,i\n", None),
        (b"a,b\n1,2\n", None),
        (b"", None),
        (b"\x00\xff" * 100, None),
    ],
)
def test_which_preset_fits(tmp_path: Path, data: bytes, preset: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert fitting(path) == preset


def test_the_error_about_columns_says_which_preset_fits(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv"
    path.write_bytes(RETAIL)
    with pytest.raises(ConfigurationError, match="looks like uci-online-retail: try `--source uci-online-retail`"):
        list(read_events(path, ReadReport()))
    path.write_bytes(b"a,b\n")
    with pytest.raises(ConfigurationError, match="`--source`"):
        list(read_events(path, ReadReport()))


def test_a_mapping_that_does_not_fit_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "retail.csv"
    path.write_bytes(RETAIL)
    with pytest.raises(ConfigurationError, match="no column event, visitorid"):
        list(read_events(path, ReadReport(), find_mapping("retailrocket")))
