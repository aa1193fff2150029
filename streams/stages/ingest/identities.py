"""Caches the pseudonym and sealed id of recent users, because sealing costs more than all other work for an event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from streams.privacy.pseudonym import ANONYMOUS, Pseudonymizer
from streams.privacy.seal import IdSealer
from streams.stages.identifiers import shopper
from streams.stages.ingest.own_ids import own_words

USERS_KEPT = 50_000


class Identity(NamedTuple):
    """A user, and what stands for the user downstream."""

    user_id: str
    pseudonym: str
    key: bytes
    """The pseudonym as a Kafka key."""
    sealed_id: bytes
    words: tuple[str, ...]
    """By which the user's id is found where it must not stand."""
    former: str = ""
    """The pseudonym under the old key, while the key is rotated."""


class Identities:
    """A bounded memory of identities. Sealing is randomised: one user's boxes differ, their content doesn't."""

    def __init__(self, pseudonymizer: Pseudonymizer, sealer: IdSealer, kept: int = USERS_KEPT, former: Pseudonymizer | None = None) -> None:
        """``former``: under the old key, while the key is rotated."""
        self._pseudonymizer = pseudonymizer
        self._former = former
        self._sealer = sealer
        self._kept = kept
        self._known: OrderedDict[str, Identity] = OrderedDict()

    def of(self, raw_user_id: str, anonymous_id: str | None = None) -> Identity:
        """The identity of ids as the producer wrote them; that of the anonymous id only where the other names nobody. Raises RecordError as
        ``identifiers.shopper`` does."""
        raw = raw_user_id
        known = self._known.get(raw)
        if known is None and anonymous_id:
            # No user id has such a name.
            raw = f"{ANONYMOUS}{raw_user_id}\0{anonymous_id}"
            known = self._known.get(raw)
        if known is not None:
            self._known.move_to_end(raw)
            return known
        user = shopper(raw_user_id, anonymous_id)
        if not user.startswith(ANONYMOUS):
            raw = raw_user_id
        pseudonym = self._pseudonymizer.pseudonym(user)
        former = self._former.pseudonym(user) if self._former is not None else ""
        identity = Identity(user, pseudonym, pseudonym.encode(), self._sealer.seal(user, pseudonym), own_words(user), former)
        self._known[raw] = identity
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
        return identity

    def forget(self, identities: Iterable[Identity]) -> None:
        """Leave nothing of these shoppers in this memory: one pass over it for all of them."""
        users = {identity.user_id for identity in identities}
        if users:
            self._known = OrderedDict((raw, known) for raw, known in self._known.items() if known.user_id not in users)

    def seal(self, identity: Identity, pseudonym: str) -> bytes:
        """The sealed id of the identity for a record with another pseudonym than its own."""
        return self._sealer.seal(identity.user_id, pseudonym)
