"""The backtest command: small files by hand, and the quality it must reach on the shared year."""

from __future__ import annotations

import csv
import gzip
import math
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.support.deployment import Deployment

ITEMS = "item,title\nA,red running shoes\nB,blue running shoes\nC,porcelain teapot\nD,green tea\nE,trail running shoes\n"
EVENTS = (
    "ts,user,event_type,item,qty\n"
    "2026-01-01T10:00:00,u1,purchase,A,1\n2026-01-01T10:00:00,u2,purchase,C,1\n2026-01-02T10:00:00,u2,view,D,\n"
    "2026-01-02T10:00:00,u3,teleport,D,\n2026-02-01T10:00:00,u4,purchase,B,1\n"
)


def deployment(folder: Path, model: str) -> Deployment:
    return Deployment(folder, "127.0.0.1:1", "x.", {"VEILSTREAM_MODEL": model, "VEILSTREAM_POPULARITY_WEIGHT": "0.01"})


def rows(path: Path) -> dict[str, list[str]]:
    found = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert int(row["rank"]) == len(found[row["user"]]) + 1
            assert math.isfinite(float(row["score"]))
            found[row["user"]].append(row["item"])
    return dict(found)


@pytest.mark.slow
def test_small_files(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "events.csv").write_text(EVENTS)
    here = deployment(tmp_path, "hashing")
    arguments = ["backtest", "--items", "items.csv", "--events", "events.csv", "--cutoff", "2026-01-15", "--top", "3"]
    done = here.command(*arguments, "--out", "out.csv")
    assert "unknown_event_type" in done.stderr
    found = rows(tmp_path / "out.csv")
    assert set(found) == {"u1", "u2", "u3"}, "only users with an event before the cutoff"
    assert "A" not in found["u1"]
    assert set(found["u1"][:2]) == {"B", "E"}, "shoes for whom bought shoes"
    assert not {"C", "D"} & set(found["u2"])
    here.command(*arguments, "--out", "seen.csv", "--include-seen")
    assert rows(tmp_path / "seen.csv")["u1"][0] == "A"
    assert not list(tmp_path.glob("*.part"))


def test_who_logs_in_gets_what_the_browser_turned_to(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    browsed = "2026-01-01T10:00:00,,purchase,A,b1,\n2026-01-01T10:00:00,,purchase,A,b2,\n2026-01-01T11:00:00,u1,view,D,,\n"
    log_ins = "2026-01-02T10:00:00,u1,identify,,b1,yes\n2026-01-02T10:00:00,u2,identify,,b2,no\n2026-01-03T10:00:00,u2,view,D,,\n"
    (tmp_path / "events.csv").write_text(f"ts,user,event_type,item,anonymous_id,consent\n{browsed}{log_ins}")
    done = deployment(tmp_path, "hashing").command(
        *("backtest", "--items", "items.csv", "--events", "events.csv", "--cutoff", "2026-01-15", "--top", "3", "--out", "out.csv")
    )
    assert "no_consent" in done.stderr
    found = rows(tmp_path / "out.csv")
    assert "A" not in found["u1"] and set(found["u1"][:2]) == {"B", "E"}, "shoes, and not those that are bought"
    assert found["u2"][0] in {"A", "C"} and "A" in found["u2"], "the browser's history stays the browser's"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"--cutoff": "soon"}, 2, "--cutoff"),
        ({"--items": "none.csv"}, 2, "none.csv"),
        ({"--events": "items.csv"}, 1, "no column"),
        ({"--cutoff": "1999-01-01"}, 1, "no event before"),
    ],
)
def test_wrong_use(tmp_path: Path, change: dict[str, str], code: int, said: str) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "events.csv").write_text(EVENTS)
    options = {"--items": "items.csv", "--events": "events.csv", "--cutoff": "2026-01-15", "--out": "out.csv"} | change
    done = deployment(tmp_path, "hashing").command("backtest", *[part for pair in options.items() for part in pair], check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_quality_on_the_shared_year(tmp_path: Path, retail: Path, is_long: bool) -> None:
    """The protocol of the data's own notes: HR@10 and NDCG@10 of the next basket's new items. With ``LONG=1`` a ranker is fitted first."""
    purchases: list[tuple[float, str, str, str]] = []
    with gzip.open(retail / "events.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["event_type"] == "purchase":
                purchases.append(
                    (datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC).timestamp(), row["user"], row["item"], row["invoice"])
                )
    purchases.sort(key=lambda p: p[0])
    cutoff = float(np.quantile([p[0] for p in purchases], 0.8))
    before: defaultdict[str, set[str]] = defaultdict(set)
    baskets: dict[tuple[str, str], set[str]] = {}
    known: set[str] = set()
    for at, user, item, invoice in purchases:
        if at < cutoff:
            before[user].add(item)
            known.add(item)
        else:
            baskets.setdefault((user, invoice), set()).add(item)
    targets: dict[str, set[str]] = {}
    for (user, _), basket in baskets.items():
        new = (basket & known) - before[user]
        if user not in targets and len(before[user]) >= 5 and new:
            targets[user] = new
    assert len(targets) == 1403

    here = Deployment(tmp_path, "127.0.0.1:1", "x.")
    here.command(
        "backtest", "--items", str(retail / "items.csv.gz"), "--events", str(retail / "events.csv.gz"),
        "--cutoff", str(cutoff), "--top", "10", "--out", "out.csv", *(() if is_long else ("--no-fit",)), timeout=1500,
    )  # fmt: skip
    ranked = rows(tmp_path / "out.csv")
    hits, gains = [], []
    for user, wanted in targets.items():
        found = [item in wanted for item in ranked[user]]
        ideal = sum(1 / math.log2(place + 2) for place in range(min(10, len(wanted))))
        hits.append(any(found))
        gains.append(sum(hit / math.log2(place + 2) for place, hit in enumerate(found)) / ideal)
    assert np.mean(hits) >= (0.52 if is_long else 0.46)
    assert np.mean(gains) >= (0.136 if is_long else 0.108)
