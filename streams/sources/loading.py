"""Finds and loads mappings: those that the product carries, and those of a shop's folder."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from streams.errors import ConfigurationError
from streams.sources.mapping import SourceMapping, load_mapping, read_mapping
from streams.sources.source import Source

MAX_FILES = 200


@cache
def presets() -> dict[str, SourceMapping]:
    """The mappings that the product carries, by name."""
    folder = resources.files("streams.sources") / "presets"
    found = [
        read_mapping(file.read_bytes(), f"preset {file.name}")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    ]
    return {mapping.name: mapping for mapping in found}


def preset_text(name: str) -> str:
    """The file of a preset. Raises ConfigurationError if there is none of the name."""
    if name not in presets():
        raise ConfigurationError(f"{name} is no preset; there are {', '.join(sorted(presets()))}")
    return (resources.files("streams.sources") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")


def load_sources(folder: Path | None) -> dict[str, Source]:
    """Presets, and the mappings of a folder (``*.yaml``), by name; a shop's own takes the place of a preset.

    Raises ConfigurationError, with file and line, for a mapping that is wrong, and for two of one name.
    """
    mappings = dict(presets())
    if folder is not None:
        own: dict[str, Path] = {}
        if not folder.is_dir():
            raise ConfigurationError(f"VEILSTREAM_SOURCES_DIR: {folder} is no folder")
        files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
        if len(files) > MAX_FILES:
            raise ConfigurationError(f"{folder} holds more than {MAX_FILES} mappings")
        for path in files:
            mapping = load_mapping(path)
            if mapping.name in own:
                raise ConfigurationError(f"{own[mapping.name]} and {path} both are source {mapping.name}")
            own[mapping.name] = path
            mappings[mapping.name] = mapping
    return {name: Source(mapping) for name, mapping in mappings.items()}


def find_mapping(name_or_path: str, folder: Path | None = None) -> SourceMapping:
    """The preset of a name, the mapping of that name in the folder, or the mapping in a file. Raises ConfigurationError."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return load_mapping(path)
    sources = load_sources(folder)
    if name_or_path not in sources:
        raise ConfigurationError(
            f"{name_or_path} is no source; there are {', '.join(sorted(sources))}; or give a file: ./{name_or_path}.yaml"
        )
    return sources[name_or_path].mapping
