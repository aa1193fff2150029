"""The serving parameters: the numbers that turn a model's vectors into recommendations. They are fitted together with the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class ServingParams:
    """Serving parameters. Raises ValueError if one is not finite or out of range."""

    half_life_days: float
    """Age at which the weight of an event in a profile has halved, days. Above 0."""
    popularity_weight: float
    """Weight of ln(1 + decayed popularity) in the score; the cosine has weight 1. 0 or more."""
    threshold: float
    """Only items with a score above this are recommended."""
    together_weight: float = 0.0
    """Weight in the score of what is bought together. 0 or more. Versions without it have 0, and 0 is written by leaving it out."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{field.name} must be a finite number")
            # The signature covers the text of a number. So 1 and 1.0, or 0.0 and -0.0, must have one form.
            object.__setattr__(self, field.name, float(value) + 0.0)
        if self.half_life_days <= 0:
            raise ValueError("half_life_days must be above 0")
        for name in ("popularity_weight", "together_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more")

    def to_dict(self) -> dict[str, float]:
        """The numbers by name, without a ``together_weight`` of 0: the text of older versions is signed."""
        found = asdict(self)
        if not self.together_weight:
            del found["together_weight"]
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> ServingParams:
        """The inverse of ``to_dict``.

        Also raises ValueError for a missing or unknown name. A parameter that this version does not know was fitted for a score that this
        version does not compute.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names and set(values) != names - {"together_weight"}:
            wrong = ", ".join(sorted(set(values) ^ names))
            raise ValueError(f"the serving parameters must be {', '.join(sorted(names))}; missing or unknown: {wrong}")
        return cls(**values)
