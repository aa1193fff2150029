"""Finds and loads mappings: those that the product carries, and those of a shop's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from streams.errors import ConfigurationError
from streams.sources.item_mapping import ItemMapping, read_item_mapping
from streams.sources.item_source import ItemSource
from streams.sources.mapping import SourceMapping, kind_of, mapping_text, read_mapping
from streams.sources.source import Source
from streams.sources.yaml_nodes import parse

MAX_FILES = 200
Offered = Callable[["Mappings"], Mapping[str, object]]


class Mappings(NamedTuple):
    """By name. A name is of one mapping only, whatever it is of."""

    events: dict[str, SourceMapping]
    items: dict[str, ItemMapping]

    def put(self, mapping: SourceMapping | ItemMapping) -> None:
        """A later one takes the place of an earlier one."""
        self.events.pop(mapping.name, None)
        self.items.pop(mapping.name, None)
        if isinstance(mapping, ItemMapping):
            self.items[mapping.name] = mapping
        else:
            self.events[mapping.name] = mapping


def read_any(text: bytes, file: str) -> SourceMapping | ItemMapping:
    """A mapping of events or of items. Raises ConfigurationError, with file and line."""
    return read_item_mapping(text, file) if kind_of(parse(text, file)) == "items" else read_mapping(text, file)


def load_any(path: Path) -> SourceMapping | ItemMapping:
    """The mapping in a file. Raises as above, and where it can't be read."""
    return read_any(mapping_text(path), str(path))


@cache
def all_presets() -> Mappings:
    """The mappings that the product carries."""
    found = Mappings({}, {})
    folder = resources.files("streams.sources") / "presets"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            found.put(read_any(file.read_bytes(), f"preset {file.name}"))
    return found


def presets() -> dict[str, SourceMapping]:
    """Those of events, by name."""
    return all_presets().events


def item_presets() -> dict[str, ItemMapping]:
    """Those of items, by name."""
    return all_presets().items


def preset_text(name: str) -> str:
    """The file of a preset. Raises ConfigurationError if there is none of the name."""
    known = {**presets(), **item_presets()}
    if name not in known:
        raise ConfigurationError(f"{name} is no preset; there are {', '.join(sorted(known))}")
    return (resources.files("streams.sources") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")


def load_mappings(folder: Path | None) -> Mappings:
    """Presets, and the mappings of a folder (``*.yaml``); a shop's own takes the place of a preset.

    Raises ConfigurationError, with file and line, for a mapping that is wrong, and for two of one name.
    """
    found = Mappings(dict(presets()), dict(item_presets()))
    if folder is None:
        return found
    own: dict[str, Path] = {}
    if not folder.is_dir():
        raise ConfigurationError(f"VEILSTREAM_SOURCES_DIR: {folder} is no folder")
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if len(files) > MAX_FILES:
        raise ConfigurationError(f"{folder} holds more than {MAX_FILES} mappings")
    for path in files:
        mapping = load_any(path)
        if mapping.name in own:
            raise ConfigurationError(f"{own[mapping.name]} and {path} both are source {mapping.name}")
        own[mapping.name] = path
        found.put(mapping)
    return found


def load_sources(folder: Path | None) -> dict[str, Source]:
    """The sources of events, by name. Raises as ``load_mappings``."""
    return {name: Source(mapping) for name, mapping in load_mappings(folder).events.items()}


def load_item_sources(folder: Path | None) -> dict[str, ItemSource]:
    """The sources of items, by name. Raises as ``load_mappings``."""
    return {name: ItemSource(mapping) for name, mapping in load_mappings(folder).items.items()}


def find_mapping(name_or_path: str, folder: Path | None = None) -> SourceMapping:
    """The preset of a name, the mapping of that name in the folder, or the mapping in a file. Raises ConfigurationError, for one of items
    too."""
    found = find_any(name_or_path, folder, "source", lambda known: known.events)
    if isinstance(found, ItemMapping):
        raise ConfigurationError(f"{name_or_path} is a source of items, not of events: use `--items-source`")
    return found


def find_item_mapping(name_or_path: str, folder: Path | None = None) -> ItemMapping:
    """As ``find_mapping``, of items."""
    found = find_any(name_or_path, folder, "source of items", lambda known: known.items)
    if not isinstance(found, ItemMapping):
        raise ConfigurationError(f"{name_or_path} is a source of events, not of items: use `--source`")
    return found


def find_any(
    name_or_path: str, folder: Path | None = None, what: str = "source", offered: Offered | None = None
) -> SourceMapping | ItemMapping:
    """As ``find_mapping``, of events or items; an error names those that are ``offered``."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return load_any(path)
    known = load_mappings(folder)
    both: dict[str, SourceMapping | ItemMapping] = {**known.events, **known.items}
    if name_or_path not in both:
        names = both if offered is None else offered(known)
        raise ConfigurationError(
            f"{name_or_path} is no {what}; there are {', '.join(sorted(names))}; or give a file: ./{name_or_path}.yaml"
        )
    return both[name_or_path]
