"""How likely a recommended item is seen at its place: what is shown further down was chosen less often, not because it was worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Seen(NamedTuple):
    """Of the items recommended at one place."""

    recommended: int
    seen: int
    """With an impression or any reaction."""


def propensities(by_rank: Mapping[int, Seen], *, smoothing: float = 20.0, least: float = 0.1) -> dict[int, float]:
    """By rank (from 0), relative to the place that is seen most, from ``least`` to 1.

    Each share is drawn towards that of all places, as if ``smoothing`` items of it had been there. Exposure propensities after
    Schnabel et al., "Recommendations as Treatments" (ICML 2016); the clipping bounds the variance of their inverse.
    """
    recommended = sum(of.recommended for of in by_rank.values())
    if not recommended:
        return {}
    overall = sum(of.seen for of in by_rank.values()) / recommended
    shares = {rank: (of.seen + smoothing * overall) / (of.recommended + smoothing) for rank, of in by_rank.items()}
    most = max(shares.values())
    return {rank: min(1.0, max(least, share / most)) if most else 1.0 for rank, share in shares.items()}
