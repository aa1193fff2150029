"""``veilstream sources``: what would become of a file, without a broker, and without a shopper's id on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.cli.main import run

AT = "1700000000000000"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    rows = [
        {"event_name": "view_item", "event_timestamp": AT, "user_id": "anna.schmidt@example.com", "items": [{"item_id": "A"}]},
        {"event_name": "view_item", "event_timestamp": AT, "user_pseudo_id": "1.2", "items": [{"item_id": "B", "price": "1,5"}]},
        {"event_name": "page_view", "event_timestamp": AT, "user_pseudo_id": "1.2"},
        {"event_name": "purchase", "event_timestamp": 1, "user_pseudo_id": "null", "items": [{"item_id": "A", "quantity": 2}]},
    ]  # fmt: skip
    path = tmp_path / "ga4.json"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_check_finds_the_preset_and_shows_what_would_become(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sources", "check", str(export), "--source", "ga4-bigquery"]) == 1
    out = capsys.readouterr().out
    assert "preset that fits: none" in out
    assert "ga4.json line 1: view at 2023-11-14T22:13Z, item_id A, quantity 1" in out
    assert "ga4.json line 2: refused: bad_price: price is ambiguous" in out
    assert "ga4.json line 3: skipped" in out
    assert "ga4.json line 4: refused: nobody" in out
    assert "4 records, 1 of them skipped, 3 events" in out
    assert "33.33%         1  1 view" in out
    assert "anna" not in out and "1.2" not in out


def test_a_preset_is_found_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.csv"
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n")
    assert run(["sources", "check", str(path)]) == 0
    assert "preset that fits: retailrocket" in capsys.readouterr().out


def test_a_mapping_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("source: mine\nfields: {type: {value: view}, user: who, item: what}\n")
    (tmp_path / "events.json").write_text('{"who": 7, "what": 8}\n')
    assert run(["sources", "check", str(tmp_path / "events.json"), "--mapping", str(tmp_path / "mine.yaml"), "--show", "0"]) == 0
    out = capsys.readouterr().out
    assert "source mine: 1 records" in out and "line 1: view" not in out
    (tmp_path / "mine.yaml").write_text("source: mine\nfields: {type: {value: view}, user: who, thing: what}\n")
    assert run(["sources", "check", str(tmp_path / "events.json"), "--mapping", str(tmp_path / "mine.yaml")]) == 1
    assert "mine.yaml line 2: fields: thing is not known" in capsys.readouterr().err


def test_nothing_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert run(["sources", "check", str(tmp_path / "x.csv")]) == 2
    assert "no preset fits" in capsys.readouterr().err
    assert run(["sources", "check", str(tmp_path / "x.csv"), "--source", "x", "--mapping", str(tmp_path / "x.csv")]) == 2


def test_list_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("source: mine\nabout: our own\nfields: {type: {value: view}, user: who, item: what}\n")
    monkeypatch.setenv("VEILSTREAM_SOURCES_DIR", str(tmp_path))
    assert run(["sources", "list"]) == 0
    out = capsys.readouterr().out
    assert "ga4-bigquery" in out and "our own" in out
    assert run(["sources", "show", "segment"]) == 0
    (tmp_path / "copy.yaml").write_text(capsys.readouterr().out)
    assert run(["sources", "list"]) == 0
    assert run(["sources", "show", "nothing"]) == 1
    assert "is no preset" in capsys.readouterr().err


def test_backtest_takes_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_MODEL", "hashing")
    rows = [
        {
            "event_name": "view_item",
            "event_timestamp": AT,
            "user_pseudo_id": f"{n}.5",
            "event_bundle_sequence_id": n,
            "items": [{"item_id": f"i{n}"}],
        }
        for n in range(5)
    ]
    (tmp_path / "ga4.json").write_text(json.dumps(rows))
    (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"i{n},Red thing {n}\n" for n in range(5)))
    files = ["--items", str(tmp_path / "items.csv"), "--events", str(tmp_path / "ga4.json"), "--out", str(tmp_path / "out.csv")]
    assert run(["backtest", *files, "--source", "ga4-bigquery", "--cutoff", "2024-01-01", "--no-fit", "--top", "2"]) == 0
    assert "5 users, 5 items, 5 events before the cutoff" in capsys.readouterr().out
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 11
    assert run(["backtest", *files, "--source", "nothing", "--cutoff", "2024-01-01", "--no-fit"]) == 1
    assert "nothing is no source; there are ga4-bigquery" in capsys.readouterr().err


FEED = (
    "<rss xmlns:g='http://base.google.com/ns/1.0'><channel>"
    + "".join(f"<item><g:id>i{n}</g:id><title>Red thing {n}</title><g:item_group_id>g</g:item_group_id></item>" for n in range(5))
    + "<item><g:id>x</g:id><title>t</title><g:price>12,99 EUR</g:price></item></channel></rss>"
)


def test_check_of_a_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "feed.xml").write_text(FEED)
    assert run(["sources", "check", str(tmp_path / "feed.xml"), "--show", "6"]) == 0
    out = capsys.readouterr().out
    assert "preset that fits: google-merchant" in out
    assert "feed.xml item 1: item i0, group g: Red thing 0" in out
    assert "feed.xml item 6: refused: bad_price: price is ambiguous" in out
    assert "source google-merchant: 6 records, 6 items" in out
    assert "83.33%         5  0 of them out of stock or hidden, 1 groups" in out
    (tmp_path / "mine.yaml").write_text("source: mine\nkind: items\nformat: xml\nfields: {item: nowhere, title: title}\n")
    assert run(["sources", "check", str(tmp_path / "feed.xml"), "--mapping", str(tmp_path / "mine.yaml")]) == 1
    assert "missing_item" in capsys.readouterr().out
    assert run(["sources", "list"]) == 0
    assert "items (--items-source):\n  google-merchant " in capsys.readouterr().out
    assert run(["sources", "show", "shopify-products"]) == 0


def test_backtest_takes_a_source_of_items(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_MODEL", "hashing")
    (tmp_path / "feed.xml").write_text(FEED)
    rows = "".join(f"2023-01-01,u{n},view,i{n}\n" for n in range(5))
    (tmp_path / "events.csv").write_text(f"ts,user,event_type,item\n{rows}2023-01-01,u9,view,elsewhere\n")
    files = ["--items", str(tmp_path / "feed.xml"), "--events", str(tmp_path / "events.csv"), "--out", str(tmp_path / "out.csv")]
    command = ["backtest", *files, "--cutoff", "2024-01-01", "--no-fit", "--top", "4"]
    assert run([*command, "--items-source", "google-merchant"]) == 0
    captured = capsys.readouterr()
    assert "6 users, 5 items" in captured.out and "left out 1: bad_price" in captured.err
    per_user = [line.split(",")[0] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert len(per_user) == len(set(per_user)), "all five are of one group: one recommendation"
    assert run(command) == 1
    assert "try `--items-source google-merchant`" in capsys.readouterr().err
    assert run([*command, "--items-source", "segment"]) == 1
    assert run(["replay", "--events", str(tmp_path / "events.csv"), "--items-source", "google-merchant"]) == 2
