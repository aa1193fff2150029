"""Write every reference page anew."""

from __future__ import annotations

from pathlib import Path

from docs.generator import PAGES

FOLDER = Path(__file__).resolve().parents[1] / "reference"


def main() -> None:
    """Write the pages where they differ, so that what is in step keeps its time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
