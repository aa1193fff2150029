"""Writes the dashboards: ``make dashboards``."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from k8s.dashboards import kafka, latency, models, overview, pipeline, privacy, quality
from k8s.dashboards.panels import Board, dashboard_of

BOARDS = (overview.BOARD, pipeline.BOARD, latency.BOARD, quality.BOARD, models.BOARD, privacy.BOARD, kafka.BOARD)
FOLDER = Path(__file__).resolve().parents[1] / "base" / "monitoring" / "dashboards"


def text_of(board: Board) -> str:
    """The file of a dashboard."""
    return JSONEncoder(sort_keys=True, indent=1).encode(dashboard_of(board)) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        path = FOLDER / f"{board.uid}.json"
        path.write_text(text_of(board), encoding="utf-8")
        print(f"wrote {path.name}: {len(board.panels)} panels")


if __name__ == "__main__":
    main()
