"""Opens single values of a stage's changelog, for whoever answers a shopper's requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.atrest.partition import PartitionSeal
from streams.atrest.sealed import Place
from streams.atrest.table import refuse_sealed
from streams.privacy.state_keys import StateKeys


@dataclass(frozen=True)
class StateReader:
    """Of one stage. ``keys`` None: nothing is sealed. Topics are full names."""

    keys: StateKeys | None
    changelog: str
    keys_topic: str | None
    accepts_plain: bool = False

    def open(self, partition: int, key: bytes, data: bytes, records: Mapping[bytes, bytes | None]) -> bytes | None:
        """The value; None where it is shredded. ``records``: of the keys' topic, the newest of this key and of ``MARKER``.

        Raises StateDamaged and ConfigurationError as a stage would.
        """
        what = f"the changelog {self.changelog}, partition {partition}"
        if self.keys is None:
            refuse_sealed(data, what)
            return data
        seal = PartitionSeal(
            Place(self.keys, self.changelog, partition, what),
            None if self.keys_topic is None else Place(self.keys, self.keys_topic, partition, what),
            accepts_plain=self.accepts_plain,
            what=what,
        )
        seal.keep(records)
        return seal.open(key, data)
