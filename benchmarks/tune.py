"""How settings of peers are chosen: only by what they reach at the validation cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def tune(judge: Callable[[dict[str, Any]], float], start: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """One setting after the other, each at its best while the others stand still; twice over, as long as something moves."""
    known: dict[tuple[Any, ...], float] = {}

    def value(settings: dict[str, Any]) -> float:
        key = tuple(settings.values())
        if key not in known:
            known[key] = judge(settings)
        return known[key]

    chosen = dict(start)
    for _ in range(2):
        before = dict(chosen)
        for name, values in grid.items():
            chosen = max((chosen, *({**chosen, name: other} for other in values)), key=value)
        if chosen == before or len(known) > 40:
            break
    return chosen
