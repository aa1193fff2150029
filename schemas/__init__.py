"""The Avro schemas of every topic value, as text.

``avro/<topic>.avsc`` is the current version, ``released/<topic>/<n>.avsc`` every version ever released. All versions of a
topic are compatible with each other both ways, since replays meet them all.
"""

from __future__ import annotations

from importlib.resources import files


def topic_names() -> list[str]:
    """Every topic that has a schema."""
    return sorted(entry.name.removesuffix(".avsc") for entry in (files(__name__) / "avro").iterdir() if entry.name.endswith(".avsc"))


def current(topic: str) -> str:
    """The current schema of a topic's values. Raises KeyError where the topic has none."""
    path = files(__name__) / "avro" / f"{topic}.avsc"
    if not path.is_file():
        raise KeyError(topic)
    return path.read_text(encoding="utf-8")


def released(topic: str) -> list[str]:
    """Every released schema of a topic, oldest first."""
    folder = files(__name__) / "released" / topic
    if not folder.is_dir():
        return []
    entries = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".avsc")), key=lambda entry: int(entry.name.split(".")[0]))
    return [entry.read_text(encoding="utf-8") for entry in entries]
