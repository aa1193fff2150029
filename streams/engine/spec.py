"""What a stage reads, writes and keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Topic names are without prefix."""

    name: str
    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    table: str | None = None
    aligned: bool = False
    """True where co-partitioned outputs are written to the source's own partition number."""
    follows: tuple[str, ...] = ()
    """Topics read whole into memory."""
    uses_encoder: bool = False
    timer_s: float | None = None
    """How often the handler may do what is due without an event."""
