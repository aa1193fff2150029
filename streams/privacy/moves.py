"""What ingest and the stages tell each other about two pseudonyms of one shopper, sealed with the key of a rotation.

libsodium's secret box both hides and proves it: whoever lacks ``moves.key`` reads nothing of it, and can make none. Its length says little:
messages are padded to powers of two.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeVar

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from streams.errors import ConfigurationError, Reason, RecordError
from streams.privacy.key_types import KeyFolder
from streams.privacy.keys import MovesKey, PseudonymKey, load_ended_moves, load_moves_key, load_pseudonym_key
from streams.privacy.padding import bucket, padded, unpadded

M = TypeVar("M", bound=msgspec.Struct)
LEAST_SEALED = 256
_MOST_SEALED = 1 << 20
What = Literal["move", "forget", "hand_over"]
"""``move``: all that is kept goes to the new pseudonym. ``forget``: it goes nowhere, and what went before is forgotten there, too.
``hand_over``: the history goes to another shopper, who it was all the time; so does what went to the new pseudonym before."""


class Announcement(msgspec.Struct, array_like=True, frozen=True):
    """What ingest says of a shopper, among the events of her old pseudonym."""

    move_id: bytes
    """16 bytes; the same whenever the record comes again that caused it."""
    what: What
    old: str
    new: str
    to: str = ""
    """Of ``hand_over``: the pseudonym of the user."""
    refused: tuple[str, ...] = ()
    """Of ``forget``: the purposes that she does not allow; empty where she is to be forgotten for good."""
    item_id: str | None = None
    """Of ``forget``: only what has to do with this item."""
    request_id: str | None = None
    received_ms: int = 0
    """Of ``forget``: when the shop's message was published."""


def hand_over_id(move_id: bytes, offset: int) -> bytes:
    """16 bytes: of what one announcement causes at one place. Should it ever be there twice, what it then finds is another hand-over."""
    return blake2b(b"%d" % offset, digest_size=16, key=move_id, person=b"vs.handover").digest()


Kind = Literal["announcement", "profile", "feedback", "trainer"]


class MovesSealer:
    """Seals and opens with the key of one rotation. What is sealed begins with the key's id."""

    def __init__(self, key: MovesKey) -> None:
        self.key_id = key.key_id
        self._box = SecretBox(key.secret)
        self._begin = bytes((len(key.key_id),)) + key.key_id.encode()

    def seal(self, kind: Kind, message: msgspec.Struct) -> bytes:
        """The message, for those who hold the key."""
        packed = kind.encode() + b"\n" + msgspec.msgpack.encode(message)
        most = max(_MOST_SEALED, len(packed) + 1)
        return self._begin + bytes(self._box.encrypt(padded(packed, bucket(len(packed), LEAST_SEALED, most))))

    def open(self, kind: Kind, sealed: bytes, type_: type[M]) -> M:
        """What ``seal`` was given. Raises RecordError for what was not sealed with this key, or is of another kind."""
        try:
            packed = unpadded(self._box.decrypt(sealed.removeprefix(self._begin)))
        except (CryptoError, ValueError, TypeError):
            raise RecordError(Reason.NOT_OURS, "nobody who holds moves.key sealed this") from None
        found, _, message = packed.partition(b"\n")
        if found != kind.encode():
            raise RecordError(Reason.NOT_OURS, f"what is sealed here is no {kind}")
        try:
            return msgspec.msgpack.decode(message, type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RecordError(Reason.UNDECODABLE, f"a sealed {kind} of another version of veilstream") from None


class MovesReader:
    """What a stage has of ``moves.key``: perhaps nothing, while no rotation goes on."""

    def __init__(self, sealer: MovesSealer | None = None, ended: Collection[str] = ()) -> None:
        """``ended``: ids of the keys of rotations that were ended (``moves.retired``)."""
        self.sealer = sealer
        self._ended = frozenset(ended)

    def of(self, sealed: bytes) -> MovesSealer | None:
        """Who can open it; None for what is of a rotation that was ended, which nobody can open any more.

        Raises ConfigurationError where this stage has not the key of the rotation: what it would pass over is lost.
        """
        key_id = sealed[1 : 1 + sealed[0]].decode("ascii", "replace") if sealed else ""
        if self.sealer is not None and key_id == self.sealer.key_id:
            return self.sealer
        if key_id in self._ended:
            return None
        held = "no moves.key" if self.sealer is None else f"no moves.key of that rotation, but that of {self.sealer.key_id}"
        raise ConfigurationError(
            f"shoppers are moved to a new pseudonym key, and there is {held} here: copy it from where `veilstream keys rotate` made it, "
            "then start again; if that rotation was ended, copy moves.retired"
        )


def moves_reader(folder: KeyFolder) -> MovesReader:
    """What is in the folder of a stage. Raises ConfigurationError for a file that can't be used."""
    key = load_moves_key(folder / "moves.key")
    return MovesReader(None if key is None else MovesSealer(key), load_ended_moves(folder / "moves.retired"))


class IngestKeys(NamedTuple):
    """The pseudonym keys of ingest, and what it tells the stages with while there are two."""

    current: PseudonymKey
    former: PseudonymKey | None = None
    moves: MovesSealer | None = None


def ingest_keys(folder: KeyFolder) -> IngestKeys:
    """What is in the folder of ingest. Raises ConfigurationError for a file that can't be used, and for keys of different rotations."""
    current, old = load_pseudonym_key(folder / "pseudonym.key"), folder / "pseudonym.old.key"
    if not old.exists():
        return IngestKeys(current)
    moves = load_moves_key(folder / "moves.key")
    if moves is None or moves.key_id != current.key_id:
        raise ConfigurationError(
            f"pseudonym.old.key is there, and no moves.key that belongs to pseudonym.key ({current.key_id}): copy all three from where "
            "`veilstream keys rotate` made them, or remove pseudonym.old.key if the rotation was ended"
        )
    return IngestKeys(current, load_pseudonym_key(old), MovesSealer(moves))
