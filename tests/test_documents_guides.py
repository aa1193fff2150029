"""The index names every page, and the figures of the operators' guide are the measured ones."""

from __future__ import annotations

import math
import re

from tests.support import ROOT

DOCS = ROOT / "docs"
GUIDE = (DOCS / "guides" / "operators.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_the_index_names_every_page_once_or_more() -> None:
    named = set(re.findall(r"\]\(([^)#\s]+)", (DOCS / "README.md").read_text(encoding="utf-8")))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "node_modules" not in path.parts} - {"README.md"}
    assert pages - named == set()


def test_metrics_are_listed_on_one_page_alone() -> None:
    """A list copied by hand falls behind: other pages name a metric where it tells something, and link."""
    copies = {path.name for path in DOCS.rglob("*.md") if re.search(r"^\| metric \|", path.read_text(encoding="utf-8"), re.M)}
    assert copies == {"metrics.md"}


def symbols() -> dict[str, tuple[str, str]]:
    """Of each symbol of the capacity section: its figure, and the benchmark that measured it."""
    return {name: (figure, block) for name, figure, block in re.findall(r"^\| `(\w)` \| .* \| ([\d,]+) \| (\w+) \|$", GUIDE, re.M)}


def test_each_figure_is_in_the_table_of_its_benchmark() -> None:
    assert len(symbols()) == 10
    for name, (figure, block) in symbols().items():
        (table,) = re.findall(rf"<!-- {block} -->(.*?)<!-- /{block} -->", RESULTS, re.S)
        assert re.search(rf"(?<![\d,.]){figure}(?![\d,.]\d)", table), f"{name} = {figure} is not in the results of {block}"


def test_each_formula_gives_its_example() -> None:
    values = {name: float(figure.replace(",", "")) for name, (figure, _) in symbols().items()}
    values |= {"e": 1000.0, "n": 100_000.0, "s": 1_000_000.0, "u": 0.5}
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)`[^|]* \| ([\d.]+)( MB)?[^|]* \|$", GUIDE, re.M)
    assert len(rows) == 8
    for formula, said, megabytes in rows:
        value = computed(formula, values) / (1e6 if megabytes else 1)
        assert math.isclose(value, float(said), rel_tol=0.03), formula


def computed(formula: str, values: dict[str, float]) -> float:
    """Products and one division: ``e / (I · u)``.

    >>> computed("e / (I · u)", {"e": 8.0, "I": 2.0, "u": 0.5})
    8.0
    """
    above, _, below = formula.strip("`").replace("(", "").replace(")", "").partition(" / ")
    parts = [math.prod(values[word] if word in values else float(word) for word in side.split(" · ")) for side in (above, below or "1")]
    return parts[0] / parts[1]
