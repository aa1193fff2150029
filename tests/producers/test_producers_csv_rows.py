"""CSV files as they are in the world: no broken row takes a good one with it."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import ConfigurationError
from streams.producers.csv_rows import MAX_LINE, ReadReport, read_rows

HEADER = "ts,user,event_type,item\n"


def read(path: Path, text: str | bytes, needed: tuple[str, ...] = ("user",)) -> tuple[list[dict[str, str]], ReadReport]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    report = ReadReport()
    return [row.cells for row in read_rows(path, needed, report)], report


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.csv"


def users(rows: list[dict[str, str]]) -> list[str]:
    return [row["user"] for row in rows]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_plain_rows(file: Path, ending: str, start: str, last: bool) -> None:
    text = start + ending.join(["Ts, User ,event_type,item", "1,a,view,i", "", "2,b,view,j"]) + (ending if last else "")
    rows, report = read(file, text)
    assert rows == [
        {"ts": "1", "user": "a", "event_type": "view", "item": "i"},
        {"ts": "2", "user": "b", "event_type": "view", "item": "j"},
    ]
    assert report.broken == {}


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("events.csv.gz", "events.csv"):
        rows, report = read(tmp_path / name, gzip.compress(f"{HEADER}1,a,view,i\n".encode()))
        assert users(rows) == ["a"] and report.broken == {}


def test_ragged_rows_are_counted_and_the_rest_goes_on(file: Path) -> None:
    rows, report = read(file, f"{HEADER}1,a,view,i\n2,b,view\n3,c,view,i,extra\n4\n5,d,view,i\n")
    assert users(rows) == ["a", "d"]
    assert report.broken == {"fewer fields than columns": 2, "more fields than columns": 1}
    assert report.lines()[0] == "left out 2 rows: fewer fields than columns (first: events.csv line 3)"


def test_an_open_quote_swallows_nothing(file: Path) -> None:
    good = "".join(f"{n},u{n},view,i\n" for n in range(200))
    rows, report = read(file, f'{HEADER}{good}0,bad,view,"i\n{good}0,bad,"view,i\n{good}')
    assert len(rows) == 600 and "bad" not in users(rows)
    assert report.broken == {"a quote is out of place": 2}


def test_two_open_quotes_do_not_pair_up_over_good_rows(file: Path) -> None:
    rows, report = read(file, f'{HEADER}1,bad,view,"i\n2,a,view,i\n3,b,view,i\n4,bad,view,i"\n5,c,view,i\n')
    # The second quote stands inside a field, where CSV lets it stand for itself.
    assert users(rows) == ["a", "b", "bad", "c"]
    assert report.broken == {"a quote is out of place": 1}


@pytest.mark.parametrize("broken", ['1,"a"b,view,i', '1,"a,view,i', '"', '""",', '1,"a""b"c,"view,i'])
def test_quotes_out_of_place(file: Path, broken: str) -> None:
    rows, report = read(file, f"{HEADER}1,x,view,i\n{broken}\n2,y,view,i\n")
    assert users(rows) == ["x", "y"]
    assert sum(report.broken.values()) == 1


def test_an_inch_mark_is_no_quote(file: Path) -> None:
    rows, report = read(file, 'item,title,brand\n1,5" ruler,x\n', ("item",))
    assert rows[0]["title"] == '5" ruler' and report.broken == {}


def test_a_quoted_field_may_hold_line_ends(file: Path) -> None:
    text = 'item,title,description\n1,t,"first\nsecond, with a comma\nthird ""quoted"""\n2,u,plain\n'
    rows, report = read(file, text, ("item",))
    assert [row["description"] for row in rows] == ['first\nsecond, with a comma\nthird "quoted"', "plain"]
    assert report.broken == {}


def test_bytes_that_are_no_text(file: Path) -> None:
    rows, report = read(file, HEADER.encode() + b"1,Jos\xe9,view,i\n2,Jos\xc3\xa9,view,i\n")
    assert users(rows) == ["José"]
    assert report.broken == {"a line is not UTF-8; save the file as UTF-8": 1}


def test_a_line_without_end(file: Path) -> None:
    rows, report = read(file, f"{HEADER}1,{'x' * (3 * MAX_LINE)},view,i\n2,b,view,i\n")
    assert users(rows) == ["b"]
    assert list(report.broken) == [f"a line is longer than {MAX_LINE} bytes"]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "a,b\n1,2\n", "ts;user;event_type\n", b"\xff\xfet\x00s\x00", '"ts,user\n', "x" * (2 * MAX_LINE)]
)
def test_files_without_the_columns(file: Path, text: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"no column .*separated by commas"):
        read(file, text)


def test_a_column_twice(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="column user twice"):
        read(file, "user,User\n1,2\n")


def test_one_of_two_columns(file: Path) -> None:
    assert read(file, "user,query\na,b\n", ("user", "item|query"))[0]
    with pytest.raises(ConfigurationError, match="no column item or query"):
        read(file, "user,x\na,b\n", ("user", "item|query"))


def test_a_damaged_archive_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "".join(f"{n},u{n * 7919 % 10_007},view,i{n}\n" for n in range(20_000))).encode())
    path = tmp_path / "events.csv.gz"
    for damaged in (packed[: len(packed) // 2], packed[: len(packed) // 2] + b"\xff" * 2000):
        path.write_bytes(damaged)
        seen = 0
        with pytest.raises(ConfigurationError, match=r"damaged after line \d+"):
            for _ in read_rows(path, ("user",), ReadReport()):
                seen += 1
        assert seen > 1000


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        list(read_rows(tmp_path, ("user",), ReadReport()))


CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.sampled_from(["a,b", 'say "x"', "two\nlines", ""])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.lists(st.tuples(CELL, CELL, CELL, CELL, CELL), max_size=12))
def test_what_pythons_csv_writes_is_read_as_it_was(file: Path, rows: list[tuple[str, ...]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["c0", "c1", "c2", "c3", "c4"])
    writer.writerows(rows)
    found, report = read(file, out.getvalue(), ("c0",))
    # csv.writer ends rows with CR LF; "two\nlines" never looks like a row of five.
    assert [tuple(row.values()) for row in found] == rows
    assert report.broken == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.lists(st.text(st.sampled_from('a1,"\n\r\x00 é'), max_size=12), max_size=10))
def test_whatever_is_in_between_good_rows_come_through(file: Path, junk: list[str]) -> None:
    lines = [f"{n},good{n},view,i" for n in range(len(junk) + 1)]
    text = HEADER + "".join(f"{good}\n{bad}\n" for good, bad in zip(lines, [*junk, ""], strict=True))
    rows, _ = read(file, text)
    assert [user for user in users(rows) if user.startswith("good")] == [f"good{n}" for n in range(len(lines))]
