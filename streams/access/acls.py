"""Rights as a broker's tools take them: commands of kafka-acls, and JSON. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from streams.access.rights import Operation, Resource, Right

_LINE = 110


class Grant(NamedTuple):
    """Operations that a principal has on several resources of one kind."""

    resource: Resource
    is_prefix: bool
    operations: tuple[Operation, ...]
    names: tuple[str, ...]


def grants(rights: Iterable[Right]) -> list[Grant]:
    """The same rights, those with the same operations together.

    >>> grants([Right("topic", "a", "Read"), Right("topic", "b", "Read"), Right("topic", "b", "Write")])
    [Grant(resource='topic', is_prefix=False, operations=('Read',), names=('a',)), \
Grant(resource='topic', is_prefix=False, operations=('Read', 'Write'), names=('b',))]
    """
    operations: dict[tuple[Resource, bool, str], list[Operation]] = {}
    for right in sorted(rights):
        operations.setdefault((right.resource, right.is_prefix, right.name), []).append(right.operation)
    names: dict[tuple[Resource, bool, tuple[Operation, ...]], list[str]] = {}
    for (resource, is_prefix, name), found in operations.items():
        names.setdefault((resource, is_prefix, tuple(found)), []).append(name)
    return [Grant(resource, is_prefix, found, tuple(several)) for (resource, is_prefix, found), several in names.items()]


def commands(
    role: str, principals: Sequence[str], rights: Sequence[Right], *, bootstrap: str, command_config: str | None = None
) -> Iterator[str]:
    """Lines for a shell: a comment, then a command of kafka-acls for each grant. Adding a right that is there changes nothing."""
    yield f"# {role}: {', '.join(principals)}"
    for grant in grants(rights):
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap]
        if command_config is not None:
            words += ["--command-config", command_config]
        words.append("--add")
        for principal in principals:
            words += ["--allow-principal", principal]
        for operation in grant.operations:
            words += ["--operation", operation]
        if grant.is_prefix:
            words += ["--resource-pattern-type", "prefixed"]
        if grant.resource == "cluster":
            words.append("--cluster")
        else:
            for name in grant.names:
                words += [f"--{grant.resource}", name]
        yield wrapped(words)


def wrapped(words: Sequence[str]) -> str:
    """A command as lines of a shell that are not too long; an option stays beside its value."""
    lines, line = [], ""
    for index, word in enumerate(words):
        quoted = shlex.quote(word)
        if line and len(line) + len(quoted) > _LINE and word.startswith("--"):
            lines.append(line)
            line = f"  {quoted}"
        else:
            line = f"{line} {quoted}" if index else quoted
    return " \\\n".join([*lines, line])


def as_json(by_role: Iterable[tuple[str, Sequence[str], Sequence[Right]]]) -> str:
    """One object for each right and principal, with the names that Kafka's own API has."""
    found: list[dict[str, Any]] = [
        {
            "role": role,
            "principal": principal,
            "host": "*",
            "resourceType": right.resource.upper(),
            "resourceName": right.name,
            "patternType": "PREFIXED" if right.is_prefix else "LITERAL",
            "operation": right.operation,
            "permissionType": "ALLOW",
        }
        for role, principals, rights in by_role
        for principal in principals
        for right in rights
    ]
    return json.dumps(found, indent=2)
