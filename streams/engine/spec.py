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
    linger_ms: int = 0
    """How long what comes is gathered after something came. Nobody waits for a stage that has this; its batches are larger, and cost the
    broker less."""
    timer_s: float | None = None
    """How often the handler may do what is due without an event."""
