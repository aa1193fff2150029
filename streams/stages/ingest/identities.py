"""Caches the pseudonym and sealed id of recent users, because sealing costs more than all other work for an event."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import Sealer
from streams.stages.identifiers import user_id

USERS_KEPT = 50_000


class Identity(NamedTuple):
    """A user, and what stands for the user downstream."""

    user_id: str
    pseudonym: str
    key: bytes
    """The pseudonym as a Kafka key."""
    sealed_id: bytes


class Identities:
    """A bounded memory of identities. Sealing is randomised: one user's boxes differ, their content doesn't."""

    def __init__(self, pseudonymizer: Pseudonymizer, sealer: Sealer, kept: int = USERS_KEPT) -> None:
        self._pseudonymizer = pseudonymizer
        self._sealer = sealer
        self._kept = kept
        self._known: OrderedDict[str, Identity] = OrderedDict()

    def of(self, raw_user_id: str) -> Identity:
        """The identity of a user id as the producer wrote it. Raises RecordError as ``normalise.user_id`` does."""
        known = self._known.get(raw_user_id)
        if known is not None:
            self._known.move_to_end(raw_user_id)
            return known
        user = user_id(raw_user_id)
        pseudonym = self._pseudonymizer.pseudonym(user)
        identity = Identity(user, pseudonym, pseudonym.encode(), self._sealer.seal_id(user))
        self._known[raw_user_id] = identity
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
        return identity
