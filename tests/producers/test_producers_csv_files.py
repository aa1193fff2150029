"""Items and events from files are values that the codecs take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.errors import ConfigurationError
from streams.producers import publisher
from streams.producers.csv_files import ReadReport, read_consents, read_events, read_items
from streams.serde import local_codecs
from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS


def events(path: Path, text: str) -> tuple[list[dict[str, Any]], ReadReport]:
    path.write_text(text, encoding="utf-8")
    report = ReadReport()
    return list(read_events(path, report)), report


def items(path: Path, text: str) -> tuple[list[dict[str, Any]], ReadReport]:
    path.write_text(text, encoding="utf-8")
    report = ReadReport()
    return list(read_items(path, report)), report


def test_events_with_all_columns(tmp_path: Path) -> None:
    text = "ts,user,event_type,item,query,qty,price,event_id,country,currency,position,session,unknown\n"
    found, report = events(tmp_path / "e.csv", f"{text}2011-01-01,u 1,BUY,i,,2,3.5,e1,France,EUR,4,s,x\n")
    assert report.broken == {}
    assert found == [
        {
            "user_id": "u 1",
            "event_type": "BUY",
            "event_id": "e1",
            "occurred_at": "2011-01-01",
            "item_id": "i",
            "query": None,
            "quantity": 2.0,
            "price": 3.5,
            "currency": "EUR",
            "recommendation_id": None,
            "position": 4,
            "session_id": "s",
            "region": "France",
            "user_agent": None,
            "anonymous_id": None,
            "consent": None,
        }
    ]
    codec = local_codecs().for_topic(BEHAVIOUR_RAW)
    assert codec.decode(codec.encode(found[0])) == found[0]


def test_a_log_in(tmp_path: Path) -> None:
    rows = "".join(f"2011-01-01,u,identify,,b,{consent}\n" for consent in ("yes", "no", "", "perhaps"))
    found, report = events(tmp_path / "e.csv", f"ts,user,event_type,item,anonymous_id,consent\n{rows}")
    assert [event["consent"] for event in found] == [True, False, None]
    assert list(report.broken) == ["consent is neither true nor false"]
    assert publisher._key(found[0], "events") == b"b", "it comes after what the browser did"


def test_items_with_few_and_many_columns(tmp_path: Path) -> None:
    found, report = items(tmp_path / "i.csv", "item,title,price_median,tags,in_stock\n 7 ,Ruler,1.25,a|b,no\n8,Lamp,,,\n")
    assert report.broken == {}
    assert [item["item_id"] for item in found] == ["7", "8"]
    assert (found[0]["price"], found[0]["tags"], found[0]["in_stock"]) == (1.25, ["a", "b"], False)
    assert (found[1]["price"], found[1]["tags"], found[1]["in_stock"]) == (None, [], True)
    codec = local_codecs().for_topic(CATALOGUE_ITEMS)
    assert codec.decode(codec.encode(found[0])) == found[0]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("two,,", "qty is not a number"),
        (",dear,", "price is not a number"),
        (",,1.5", "position is not a rank from 0"),
        (",,-1", "position is not a rank from 0"),
        (",,1e300", "position is not a rank from 0"),
        (",,nan", "position is not a rank from 0"),
        (",,inf", "position is not a rank from 0"),
    ],
)
def test_numbers_that_are_none_leave_one_row_out(tmp_path: Path, cells: str, reason: str) -> None:
    found, report = events(tmp_path / "e.csv", f"ts,user,event_type,item,qty,price,position\n1,u,view,i,{cells}\n2,v,view,i,1,2,3\n")
    assert [event["user_id"] for event in found] == ["v"]
    assert report.lines() == [f"left out 1 row: {reason} (first: e.csv line 2)"]


def test_odd_values_are_published_for_the_rules_to_judge(tmp_path: Path) -> None:
    found, report = events(tmp_path / "e.csv", "ts,user,event_type,item,qty\nsoon,,dance,,inf\n")
    assert report.broken == {} and found[0]["event_type"] == "dance" and found[0]["user_id"] == ""
    local_codecs().for_topic(BEHAVIOUR_RAW).encode(found[0])


HEAD = "ts,user,event_type,item\n"


def ids(path: Path, text: str) -> list[str]:
    return [event["event_id"] for event in events(path, text)[0]]


def test_ids_are_of_content_and_place(tmp_path: Path) -> None:
    first = ids(tmp_path / "a.csv", f"{HEAD}1,u,view,i\n1,u,view,i\n")
    assert len(set(first)) == 2, "two equal rows are two events"
    assert ids(tmp_path / "renamed.csv", f"{HEAD}1,u,view,i\n1,u,view,i\n") == first
    assert ids(tmp_path / "a.csv", f"{HEAD}1,u,view,i\n1,u,view,i\n2,u,view,i\n")[:2] == first, "a file may grow"
    assert not set(ids(tmp_path / "a.csv", f"{HEAD}9,u,view,i\n8,u,view,i\n")) & set(first), "another file under the same name"


def test_ids_do_not_depend_on_line_ends(tmp_path: Path) -> None:
    assert ids(tmp_path / "a.csv", f"{HEAD}1,u,view,i\n") == ids(tmp_path / "a.csv", f"{HEAD}1,u,view,i\n".replace("\n", "\r\n"))


def test_searches_need_no_item_column(tmp_path: Path) -> None:
    assert events(tmp_path / "e.csv", "ts,user,event_type,query\n1,u,search,lamp\n")[0][0]["query"] == "lamp"
    with pytest.raises(ConfigurationError, match="item or query"):
        events(tmp_path / "e.csv", "ts,user,event_type,item_id\n1,u,view,i\n")


def test_errors_name_no_value(tmp_path: Path) -> None:
    _, report = events(tmp_path / "e.csv", f"{HEAD.strip()},qty\n1,alice@example.org,view,i,alice@example.org\n1,alice@example.org\n")
    assert len(report.lines()) == 2
    assert "alice" not in " ".join(report.lines())


def test_consents_name_purposes_by_column(tmp_path: Path) -> None:
    path = tmp_path / "consents.csv"
    path.write_text(
        "ts,user,anonymous_id,personalization,training,source\n"
        "2026-01-02T03:04:05Z,王伟,,yes,no,banner\n"
        "1767323045,,b-1,1,,\n"
        "2026-01-02,anna,,,,\n"
        "soon,anna,,yes,yes,\n"
        "2026-01-02,anna,,perhaps,yes,\n"
    )
    report = ReadReport()
    found = list(read_consents(path, report))
    assert [(row["user_id"], row["anonymous_id"], row["purposes"], row["source"]) for row in found] == [
        ("王伟", None, {"personalization": True, "training": False}, "banner"),
        ("", "b-1", {"personalization": True}, None),
    ]
    assert [row["updated_at"] for row in found] == [1_767_323_045_000, 1_767_323_045_000]
    assert sum(report.broken.values()) == 3 and "the row names no purpose" in report.broken
