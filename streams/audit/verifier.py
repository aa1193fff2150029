"""Checks every chain of the topic, record by record, and names what is wrong. What it keeps of a chain does not grow with its length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from nacl.signing import VerifyKey

from streams.audit.anchors import MARK, Anchor, anchors_in
from streams.audit.chain import NOTHING_BEFORE, ChainId, Head, chain_of, is_link_of
from streams.audit.examine import examine
from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import RecordError

_RECENT = 1024
"""Links of a chain whose hashes are kept, to tell a copy from another link of the same number."""
_AHEAD = 1000
"""Links of a chain that wait for an earlier one. With more, the earlier one is gone."""
_AHEAD_OF_ALL = 100_000
_CLAIMS = 10_000
_SHORT = 8
_SOURCE = re.compile(r"(.+/\d+)@\d+")


class Wrong(StrEnum):
    """What may be wrong with a record or a chain."""

    REMOVED = "removed"
    CUT_OFF = "cut off"
    ALTERED = "altered or forged"
    UNREADABLE = "unreadable"
    REORDERED = "reordered"
    DOUBLED = "doubled"
    FORKED = "forked"
    REWRITTEN = "rewritten"
    NOT_VERIFIED = "not verified"


class Finding(NamedTuple):
    """One thing that is wrong. Partition and offset are -1 where no record is there to name, the sequence where it says nothing."""

    wrong: Wrong
    partition: int
    offset: int
    chain: ChainId | None
    sequence: int
    detail: str


class _Place(NamedTuple):
    """What is kept of a link that comes before the one that it follows, and where it lies."""

    previous_hash: bytes
    hash: bytes
    partition: int
    offset: int


@dataclass(slots=True)
class _Chain:
    next: int = 0
    hash: bytes | None = NOTHING_BEFORE
    """Of the last link; None where that one is not there."""
    recent: dict[int, bytes] = field(default_factory=dict)
    """By number, the beginnings of the last links' hashes."""
    ahead: dict[int, _Place] = field(default_factory=dict)
    holes: list[tuple[int, int]] = field(default_factory=list)
    """First and last numbers of links that are not there."""


class Verifier:
    """Takes all records of the topic, each partition's in order, and then ``finish``. Findings go to ``tell`` as they are made.

    ``look_at_anchors`` takes all records before that, so that a chain is compared with what links say that come later.
    """

    def __init__(
        self,
        codec: RecordCodec,
        keys: Mapping[str, Sequence[VerifyKey]],
        *,
        anchors: Iterable[Anchor] = (),
        tell: Callable[[Finding], object] = lambda finding: None,
        on_link: Callable[[Mapping[str, Any], SourceRecord], object] = lambda link, record: None,
    ) -> None:
        """``keys`` by stage; ``on_link`` gets every link that its stage signed."""
        self._codec = codec
        self._keys = keys
        self._tell = tell
        self._on_link = on_link
        self._chains: dict[ChainId, _Chain] = {}
        self._waiting = 0
        self._expected: dict[int, int] = {}
        """By partition, the offset of the record to come."""
        self._claims: set[tuple[ChainId, int]] = set()
        """Chains and numbers of links that do not verify."""
        self._anchors: dict[ChainId, dict[int, list[Anchor]]] = {}
        for anchor in anchors:
            self._add_anchor(anchor)
        self.records = 0
        self.links = 0
        self.counts: Counter[Wrong] = Counter()

    @property
    def is_right(self) -> bool:
        return not self.counts

    def heads(self) -> dict[ChainId, Head]:
        """Of every chain, as far as it is there."""
        return {name: Head(chain.next - 1, chain.hash) for name, chain in self._chains.items() if chain.hash is not None and chain.next}

    def begun_again(self) -> list[str]:
        """Stages and source partitions with more than one chain: a state was lost in between."""
        sources = Counter(f"{name.stage} {found[1]}" for name in self._chains if (found := _SOURCE.fullmatch(name.chain)) is not None)
        return sorted(source for source, count in sources.items() if count > 1)

    # --- before

    def look_at_anchors(self, record: SourceRecord) -> None:
        """Remember what a record says of other chains, if its stage signed it."""
        if record.value is None or MARK not in record.value:
            return
        try:
            link = self._codec.decode(record.value, record.headers)
        except RecordError:
            return  # it is named when it is checked
        if any(is_link_of(link, key) for key in self._keys.get(link["stage"], ())):
            for anchor in anchors_in(link, f"the link at {record.partition}/{record.offset} ({link['stage']} {link['chain']})"):
                self._add_anchor(anchor)

    def _add_anchor(self, anchor: Anchor) -> None:
        said = self._anchors.setdefault(anchor.chain, {}).setdefault(anchor.head.sequence, [])
        if all(other.head != anchor.head for other in said):
            said.append(anchor)

    # --- record by record

    def take(self, record: SourceRecord) -> None:
        link, own, problem, has_key = examine(record, self._codec, self._keys)
        self.records += 1
        self._check_offset(record)
        if link is None:
            self._found(Wrong.UNREADABLE, record, None, -1, problem)
            return
        name, sequence = chain_of(link), link["sequence"]
        if problem:
            self._found(Wrong.ALTERED if has_key else Wrong.NOT_VERIFIED, record, name, sequence, problem)
            if len(self._claims) < _CLAIMS:
                self._claims.add((name, sequence))
            return
        if record.key != link["stage"].encode():
            self._found(Wrong.ALTERED, record, name, sequence, "the record's key is not its stage")
        self.links += 1
        self._on_link(link, record)
        self._place(
            self._chains.setdefault(name, _Chain()), name, sequence, _Place(link["previous_hash"], own, record.partition, record.offset)
        )

    def finish(self) -> None:
        """What shows at the end only: links that never came, and chains that are shorter than they were."""
        for name, chain in self._chains.items():
            while chain.ahead:
                self._skip(name, chain)
        for name, said in self._anchors.items():
            known = self._chains.get(name)
            for sequence, anchors in sorted(said.items()):
                for anchor in anchors:
                    if known is None:
                        self._found(Wrong.CUT_OFF, None, name, 0, f"the whole chain is gone; {anchor.said_by} knows link {sequence} of it")
                    elif sequence >= known.next:
                        last = "none" if known.next == 0 else f"link {known.next - 1}"
                        self._found(Wrong.CUT_OFF, None, name, known.next, f"{last} is the last; {anchor.said_by} knows link {sequence}")

    def _check_offset(self, record: SourceRecord) -> None:
        expected = self._expected.get(record.partition, 0)
        if record.offset > expected:
            what = f"offsets {expected} to {record.offset - 1} of the partition are not there: {record.offset - expected} records"
            self._found(Wrong.REMOVED, record, None, -1, what)
        self._expected[record.partition] = record.offset + 1

    def _place(self, chain: _Chain, name: ChainId, sequence: int, link: _Place) -> None:
        known = chain.ahead.get(sequence)
        if sequence == chain.next:
            if chain.ahead and any(waiting.partition == link.partition for waiting in chain.ahead.values()):
                self._found_in(Wrong.REORDERED, link, name, sequence, f"it comes after link {min(chain.ahead)}")
            self._advance(chain, name, sequence, link)
            self._drain(chain, name)
        elif known is not None:
            self._again(known.hash[:_SHORT], link, name, sequence)
        elif sequence > chain.next:
            chain.ahead[sequence] = link
            self._waiting += 1
            if len(chain.ahead) > _AHEAD or self._waiting > _AHEAD_OF_ALL:
                self._skip(name, chain)
        elif any(first <= sequence <= last for first, last in chain.holes):
            self._found_in(Wrong.REORDERED, link, name, sequence, f"it comes after link {chain.next - 1}")
        else:
            self._again(chain.recent.get(sequence), link, name, sequence)

    def _again(self, known: bytes | None, link: _Place, name: ChainId, sequence: int) -> None:
        """A second link of a number."""
        if known is None:
            self._found_in(Wrong.DOUBLED, link, name, sequence, "the chain had this number long before: a copy, or another link")
        elif known == link.hash[:_SHORT]:
            self._found_in(Wrong.DOUBLED, link, name, sequence, "a copy of a link that is there already")
        else:
            self._found_in(Wrong.FORKED, link, name, sequence, f"another link has this number; only {name.stage}'s key makes both")

    def _advance(self, chain: _Chain, name: ChainId, sequence: int, link: _Place) -> None:
        if chain.hash is not None and link.previous_hash != chain.hash:
            what = "it does not follow on the link before it" if sequence else "it is the first, and names one before it"
            self._found_in(Wrong.FORKED, link, name, sequence, f"{what}; only {name.stage}'s key makes it")
        chain.next, chain.hash = sequence + 1, link.hash
        chain.recent[sequence] = link.hash[:_SHORT]
        chain.recent.pop(sequence - _RECENT, None)
        for anchor in self._anchors.get(name, {}).get(sequence, ()):
            if anchor.head.hash != link.hash:
                what = f"{anchor.said_by} knows another link of this number: the chain was written anew"
                self._found_in(Wrong.REWRITTEN, link, name, sequence, what)

    def _drain(self, chain: _Chain, name: ChainId) -> None:
        while (link := chain.ahead.pop(chain.next, None)) is not None:
            self._waiting -= 1
            self._advance(chain, name, chain.next, link)

    def _skip(self, name: ChainId, chain: _Chain) -> None:
        """What the first waiting link follows is gone."""
        first, last = chain.next, min(chain.ahead) - 1
        if not all((name, sequence) in self._claims for sequence in range(first, min(last + 1, first + _CLAIMS))):
            what = f"link {first} is" if first == last else f"links {first} to {last} are"
            self._found_in(Wrong.REMOVED, chain.ahead[last + 1], name, first, f"{what} not there, before link {last + 1}")
        if len(chain.holes) < _RECENT:
            chain.holes.append((first, last))
        chain.next, chain.hash = last + 1, None
        chain.recent = {sequence: own for sequence, own in chain.recent.items() if sequence > last - _RECENT}
        self._drain(chain, name)

    # --- telling

    def _found(self, wrong: Wrong, record: SourceRecord | None, chain: ChainId | None, sequence: int, detail: str) -> None:
        self.counts[wrong] += 1
        partition, offset = (-1, -1) if record is None else (record.partition, record.offset)
        self._tell(Finding(wrong, partition, offset, chain, sequence, detail))

    def _found_in(self, wrong: Wrong, link: _Place, chain: ChainId, sequence: int, detail: str) -> None:
        self.counts[wrong] += 1
        self._tell(Finding(wrong, link.partition, link.offset, chain, sequence, detail))
