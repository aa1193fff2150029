"""Takes shoppers out of their old pseudonyms, and into the new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.engine.records import BatchResult
from streams.privacy.moves import Announcement
from streams.stages.feedback.ledger import Shopper
from streams.stages.feedback.moves import FeedbackMove, arrive, leave
from streams.stages.sealed_moves import SealedMoves


def left(shopper: Shopper, offset: int, said: Announcement, size: int, moves: SealedMoves[FeedbackMove], result: BatchResult) -> bool:
    """Apply what ingest says of an old pseudonym; what is to be sent goes into the result. ``size``: most elements of a history. Whether
    the shopper has changed."""
    if offset <= shopper.clean_offset:
        return False
    is_somebody = not shopper.is_blank
    move = leave(shopper, said, offset, size)
    if move is not None:
        result.outputs.append(moves.output(move))
    if is_somebody:
        shopper.clean_offset = offset
    return is_somebody


def arrived(moves: Iterable[FeedbackMove], shoppers: Mapping[bytes, Shopper], size: int) -> list[bytes]:
    """Apply what was sent to the shoppers, in place; the keys of those that changed."""
    return [move.new.encode() for move in moves if arrive(shoppers[move.new.encode()], move, size)]
