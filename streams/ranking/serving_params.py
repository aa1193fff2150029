"""How a model's vectors are turned into recommendations: the three numbers that are fitted with the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class ServingParams:
    """Serving parameters. Raises ValueError where one is not finite or out of its range."""

    half_life_days: float
    """Age at which an event's weight in a profile has halved, days; above 0."""
    popularity_weight: float
    """Weight of ln(1 + decayed popularity) beside the cosine; from 0."""
    threshold: float
    """Scores must pass this to be recommended."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{field.name} must be a finite number")
            # One form of every number: the signature covers its text, where 1 and 1.0, 0.0 and -0.0 would differ.
            object.__setattr__(self, field.name, float(value) + 0.0)
        if self.half_life_days <= 0:
            raise ValueError("half_life_days must be above 0")
        if self.popularity_weight < 0:
            raise ValueError("popularity_weight must be from 0")

    def to_dict(self) -> dict[str, float]:
        """The three numbers by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> ServingParams:
        """The inverse of ``to_dict``. Raises ValueError for a missing or unknown name, too: a parameter that this version does
        not know would be fitted for another score than is served."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            wrong = ", ".join(sorted(set(values) ^ names))
            raise ValueError(f"the serving parameters are {', '.join(sorted(names))}; missing or unknown: {wrong}")
        return cls(**values)
