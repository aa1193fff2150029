"""A stage's state as a dict, where the stages run without a broker: in a backtest and in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class MemoryTable:
    """What a stage reads (``StateView``), and what its batches change."""

    values: dict[bytes, bytes] = field(default_factory=dict)

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The values of the keys that have one."""
        return {key: self.values[key] for key in keys if key in self.values}

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Set values; None deletes."""
        for key, value in changes.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
