"""How the commands about one person are told who it is."""

from __future__ import annotations

from streams.privacy.key_folder import key_folder
from streams.privacy.keys import former_of, load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.settings import Settings
from streams.stages.identifiers import shopper


def pseudonym_of(settings: Settings, user: str, *, is_anonymous: bool) -> str:
    """The pseudonym of a user id, or of an anonymous id. Needs the pseudonym key. Raises ConfigurationError without it, and RecordError for
    what is no id."""
    return pseudonyms_of(settings, user, is_anonymous=is_anonymous)[0]


def pseudonyms_of(settings: Settings, user: str, *, is_anonymous: bool) -> list[str]:
    """As above; while the key is rotated the one under the old key, too, where that is there."""
    name = shopper("", user) if is_anonymous else shopper(user, None)
    folder = key_folder(settings)
    files = [folder / "pseudonym.key", *former_of(folder / "pseudonym.key")]
    return [Pseudonymizer(load_pseudonym_key(file)).pseudonym(name) for file in files]
