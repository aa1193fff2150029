"""What shoppers allow: which decision of one shopper counts, and all that is decided, by pseudonym.

Of two decisions on one purpose the later one counts, by the time at which the shopper decided, in whatever order they arrive; of two at
the same time, the refusal. A purpose that a message does not name stays as it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

PERSONALIZATION = "personalization"
TRAINING = "training"
GATED: tuple[str, ...] = (PERSONALIZATION, TRAINING)
"""The purposes that something is done for here. Decisions on others are kept and passed on."""

_SHARDS = 256
_LEAST = 8
_FULLEST = 0.7


class Decision(NamedTuple):
    """Decisions compare as they count: the greater one is in force."""

    decided_ms: int
    refuses: bool


def purposes_of(text: str) -> frozenset[str]:
    """The purposes that a setting's text names: ``all``, ``none``, or some, separated by commas. Raises ValueError for others.

    >>> sorted(purposes_of("all")), sorted(purposes_of("none")), sorted(purposes_of("training"))
    (['personalization', 'training'], [], ['training'])
    """
    words = {word.strip() for word in text.split(",") if word.strip()}
    if words == {"all"}:
        return frozenset(GATED)
    if words == {"none"} or not words:
        return frozenset()
    unknown = sorted(words.difference(GATED))
    if unknown:
        raise ValueError(f"must be `all`, `none`, or some of {', '.join(GATED)}; it names {', '.join(unknown)}")
    return frozenset(words)


class ConsentTable:
    """The decisions in force on the gated purposes, of every pseudonym that decided anything; some 54 bytes each.

    Pseudonyms are kept as 64-bit hashes: of ten million shoppers, two have one hash in common with a probability of 3 in a million.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        """``allowed``: the purposes that are taken for allowed where a shopper decided nothing."""
        self._by_default = tuple(purpose for purpose in GATED if purpose not in allowed)
        self._shards = [_Shard() for _ in range(_SHARDS)]
        self._counts = [0] * (2 * len(GATED))
        """Of each purpose those who allow it, and those who refuse."""

    def __len__(self) -> int:
        return sum(shard.used for shard in self._shards)

    def decide(self, pseudonym: str, purpose: str, decision: Decision) -> None:
        """What is in force from now on; whether it counts has been decided before."""
        self._put(pseudonym, purpose, _packed(decision))

    def forget(self, pseudonym: str, purpose: str) -> None:
        """As if nothing had been decided."""
        self._put(pseudonym, purpose, 0)

    def decision(self, pseudonym: str, purpose: str) -> Decision | None:
        """None where nothing was decided, and for a purpose that nothing is done for here."""
        if purpose not in GATED:
            return None
        key = _hash(pseudonym)
        packed = self._shards[key % _SHARDS].get(key)[GATED.index(purpose)]
        return Decision(packed >> 2, bool(packed & 2)) if packed else None

    def refused(self, pseudonym: str, former: str = "") -> tuple[str, ...]:
        """The gated purposes that nothing may be done for. Of decisions under this pseudonym and a former one of the same shopper those
        count that are in force."""
        key = _hash(pseudonym)
        first, second = self._shards[key % _SHARDS].get(key)
        if former:
            key = _hash(former)
            old_first, old_second = self._shards[key % _SHARDS].get(key)
            first, second = max(first, old_first), max(second, old_second)
        if not first and not second:
            return self._by_default
        return tuple(
            purpose
            for purpose, packed in zip(GATED, (first, second), strict=True)
            if (packed & 2 if packed else purpose in self._by_default)
        )

    def count(self, purpose: str, *, allows: bool) -> int:
        """How many pseudonyms have decided so."""
        return self._counts[2 * GATED.index(purpose) + (not allows)]

    def _put(self, pseudonym: str, purpose: str, packed: int) -> None:
        if purpose not in GATED:
            return
        key, which = _hash(pseudonym), GATED.index(purpose)
        before = self._shards[key % _SHARDS].put(key, which, packed)
        for one, change in ((before, -1), (packed, 1)):
            if one:
                self._counts[2 * which + (one >> 1 & 1)] += change


def in_force(known: Decision | None, new: Decision) -> bool:
    """Whether the new decision counts. One that is repeated does."""
    return known is None or new >= known


def refused_after(before: Iterable[str], decided: Mapping[str, bool]) -> list[str]:
    """The gated purposes that are refused once ``decided`` (purpose to whether it is allowed) is in force.

    >>> refused_after(["training"], {"training": True, "personalization": False, "newsletter": False})
    ['personalization']
    """
    was = set(before)
    return [purpose for purpose in GATED if not decided.get(purpose, purpose not in was)]


def _packed(decision: Decision) -> int:
    return decision.decided_ms << 2 | decision.refuses << 1 | 1


def _hash(pseudonym: str) -> int:
    return int.from_bytes(blake2b(pseudonym.encode(), digest_size=8).digest(), "little") or 1


class _Shard:
    """A hash table with open addressing; key 0 is an empty place. Its parts grow one by one, so that none takes long."""

    __slots__ = ("_keys", "_mask", "used", "values")

    def __init__(self) -> None:
        self.used = 0
        self._make(_LEAST)

    def get(self, key: int) -> tuple[int, int]:
        """0 stands for nothing."""
        place = self._place(key)
        return self.values[0][place], self.values[1][place]

    def put(self, key: int, which: int, value: int) -> int:
        """What was there before."""
        place = self._place(key)
        if not self._keys[place]:
            if not value:
                return 0
            if self.used + 1 > _FULLEST * (self._mask + 1):
                self._grow()
                place = self._place(key)
            self._keys[place] = key
            self.used += 1
        before, self.values[which][place] = self.values[which][place], value
        return before

    def _place(self, key: int) -> int:
        keys, mask = self._keys, self._mask
        place = key // _SHARDS & mask
        while keys[place] != key and keys[place]:
            place = place + 1 & mask
        return place

    def _make(self, size: int) -> None:
        self._mask = size - 1
        self._keys = array("Q", bytes(8 * size))
        self.values = (array("q", bytes(8 * size)), array("q", bytes(8 * size)))

    def _grow(self) -> None:
        keys, values = self._keys, self.values
        self._make(2 * len(keys))
        for old, key in enumerate(keys):
            if key:
                place = self._place(key)
                self._keys[place] = key
                for which in range(len(GATED)):
                    self.values[which][place] = values[which][old]
