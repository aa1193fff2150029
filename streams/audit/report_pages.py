"""The report's sections as a page of HTML that needs nothing else, and as Markdown. Whatever a link holds is shown as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.visible_text import as_html, as_markdown

Bars = Sequence[tuple[str, Mapping[str, int]]]
"""By day, how many of each stage."""

_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f")
_WIDTH, _HEIGHT, _LEFT, _BELOW = 900, 220, 60, 40
_STYLE = (
    "body{font:14px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#f4f4f4}"
)


class Section(NamedTuple):
    """A heading, sentences, and a table."""

    title: str
    text: Sequence[str]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    bars: Bars = ()


def html_page(title: str, sections: Sequence[Section]) -> str:
    """One file, without scripts, and nothing is fetched from anywhere."""
    body = "".join(_html_section(section) for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{as_html(title)}</title><style>{_STYLE}</style></head><body><h1>{as_html(title)}</h1>{body}</body></html>\n"
    )


def markdown_page(title: str, sections: Sequence[Section]) -> str:
    lines = [f"# {as_markdown(title)}"]
    for section in sections:
        lines += ["", f"## {as_markdown(section.title)}", *(as_markdown(sentence) for sentence in section.text)]
        if section.rows:
            lines += ["", _markdown_row(section.head), _markdown_row(["---"] * len(section.head)), *map(_markdown_row, section.rows)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(as_markdown, cells))} |"


def _html_section(section: Section) -> str:
    parts = [f"<h2>{as_html(section.title)}</h2>", *(f"<p>{as_html(sentence)}</p>" for sentence in section.text)]
    if section.bars:
        parts.append(_chart(section.bars))
    if section.rows:
        head = "".join(f"<th>{as_html(cell)}</th>" for cell in section.head)
        rows = "".join("<tr>" + "".join(f"<td>{as_html(cell)}</td>" for cell in row) + "</tr>" for row in section.rows)
        parts.append(f"<table><tr>{head}</tr>{rows}</table>")
    return "\n".join(parts) + "\n"


def _chart(bars: Bars) -> str:
    """Links by day, one bar a day, the stages upon each other."""
    stages = sorted({stage for _, counts in bars for stage in counts})
    colour = {stage: _COLOURS[place % len(_COLOURS)] for place, stage in enumerate(stages)}
    most = max(sum(counts.values()) for _, counts in bars)
    step = (_WIDTH - _LEFT) / len(bars)
    shapes = []
    for place, (day, counts) in enumerate(bars):
        top = float(_HEIGHT)
        for stage in stages:
            height = _HEIGHT * counts.get(stage, 0) / most
            top -= height
            if height:
                label = as_html(f"{day}: {counts[stage]:,} {stage}")
                shapes.append(
                    f'<rect x="{_LEFT + place * step:.1f}" y="{top:.1f}" width="{min(max(step - 2, 1), 40):.1f}" height="{height:.1f}" '
                    f'fill="{colour[stage]}"><title>{label}</title></rect>'
                )
    first, last = as_html(bars[0][0]), as_html(bars[-1][0])
    shapes.append(
        f'<text x="{_LEFT - 6}" y="12" text-anchor="end">{most:,}</text><text x="{_LEFT - 6}" y="{_HEIGHT}" text-anchor="end">0</text>'
    )
    shapes.append(f'<text x="{_LEFT}" y="{_HEIGHT + 16}">{first}</text>')
    if len(bars) > 1:
        shapes.append(f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">{last}</text>')
    for place, stage in enumerate(stages):
        x = _LEFT + place * 115
        shapes.append(f'<rect x="{x}" y="{_HEIGHT + 24}" width="12" height="12" fill="{colour[stage]}"/>')
        shapes.append(f'<text x="{x + 16}" y="{_HEIGHT + 34}">{as_html(stage)}</text>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" width="{_WIDTH}" font-size="11" font-family="sans-serif"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Links by day" {size}>{"".join(shapes)}</svg>'
