"""How the commands about one person are told who it is."""

from __future__ import annotations

from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.settings import Settings
from streams.stages.identifiers import shopper


def pseudonym_of(settings: Settings, user: str, *, is_anonymous: bool) -> str:
    """The pseudonym of a user id, or of an anonymous id. Needs the pseudonym key. Raises ConfigurationError without it, and RecordError for
    what is no id."""
    name = shopper("", user) if is_anonymous else shopper(user, None)
    return Pseudonymizer(load_pseudonym_key(settings.keys_dir / "pseudonym.key")).pseudonym(name)
