"""How far one source topic of a partition number is: applied, offered for a commit, committed."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.engine.positions import CommitNote, Positions, encode_note
from streams.engine.resume import GroupCommit


@dataclass(slots=True)
class Offer:
    """What may be committed; made into a commit when that is asked for, which is much less often than it changes."""

    offset: int
    positions: Positions
    base: int
    incarnation: int
    _commit: GroupCommit | None = None

    def commit(self) -> GroupCommit:
        if self._commit is None:
            self._commit = GroupCommit(self.offset, encode_note(CommitNote(self.positions, self.base, self.incarnation)))
        return self._commit


@dataclass(slots=True)
class SourceProgress:
    """Of a source topic that was not begun with, as it is made. Commits never go back."""

    next_offset: int = -1
    """To be applied next, base included."""
    base: int = 0
    incarnation: int = 0
    settled_at: int = 0
    """Source offset from which on nothing can have been written before the take-over."""
    committed: int = -1
    positions: Positions = field(default_factory=dict)
    """As committed last, or offered."""
    offer: Offer | None = None

    @property
    def offset(self) -> int:
        """To be applied next, as the topic counts."""
        return self.next_offset - self.base

    def offer_with(self, positions: Positions) -> None:
        """What is applied may be committed, together with these positions of the outputs."""
        if self.offset >= self.committed:
            self.positions = positions
            self.offer = Offer(self.offset, positions, self.base, self.incarnation)

    def on_committed(self, commit: GroupCommit) -> None:
        """The group has taken this offer."""
        self.committed = max(self.committed, commit.offset)
        if self.offer is not None and self.offer.commit() == commit:
            self.offer = None
