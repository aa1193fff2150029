"""Whose rights they are: a Kafka principal, or several, for each role. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from streams.access.rights import ROLES
from streams.errors import ConfigurationError
from streams.settings import Settings

Principals = Mapping[str, tuple[str, ...]]
"""By role; Kafka's spelling, with the type: User:NAME."""

_PRINCIPAL = re.compile(r"[A-Za-z]+:[^\x00-\x1f\x7f]+")


def principals(given: Iterable[str], settings: Settings) -> Principals:
    """One principal for each role, User:<VEILSTREAM_APP_PREFIX>-<role>, unless ``given`` (ROLE=User:NAME, repeated for several) says
    otherwise. Raises ConfigurationError for what is none.

    >>> principals(["producers=User:till", "producers=User:web"], Settings())["producers"]
    ('User:till', 'User:web')
    """
    named: dict[str, list[str]] = {}
    for text in given:
        role, separator, principal = text.partition("=")
        if not separator or role not in ROLES or not _PRINCIPAL.fullmatch(principal):
            raise ConfigurationError(f"--principal must be ROLE=User:NAME, the role one of {', '.join(ROLES)}; not {text!r}")
        named.setdefault(role, []).append(principal)
    found = {role: tuple(dict.fromkeys(named.get(role, [f"User:{settings.app_prefix}-{role}"]))) for role in ROLES}
    whose: dict[str, str] = {}
    for role, several in found.items():
        for principal in several:
            if whose.setdefault(principal, role) != role:
                raise ConfigurationError(f"{principal} is given to {whose[principal]} and to {role}: a principal has one role")
    return found
