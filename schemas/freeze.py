"""Keeps the current schemas as released ones: ``python -m schemas.freeze``, part of a release (CONTRIBUTING.md)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fastavro.schema import to_parsing_canonical_form

import schemas

_RELEASED = Path(__file__).parent / "released"


def unreleased() -> list[str]:
    """Topics whose current schema is none of the released ones: readers of later versions would not know its id."""
    return [topic for topic in schemas.topic_names() if _form(schemas.current(topic)) not in map(_form, schemas.released(topic))]


def freeze(topic: str) -> Path:
    """The current schema, as the topic's next released version. Its file."""
    path = _RELEASED / topic / f"{len(schemas.released(topic)) + 1}.avsc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schemas.current(topic), encoding="utf-8")
    return path


def _form(text: str) -> str:
    """What the id of a schema is made of."""
    return to_parsing_canonical_form(json.loads(text))


if __name__ == "__main__":
    for name in unreleased():
        sys.stdout.write(f"released {freeze(name).relative_to(_RELEASED.parent)}\n")
