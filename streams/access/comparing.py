"""What is needed against what is granted: which rights are missing, and which are too many. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from streams.access.rights import Operation, Resource, Right

Where = tuple[Resource, str]
"""A kind of resource and its full name."""

_INCLUDES = {**{own: {"Describe"} for own in ("Read", "Write", "Delete", "Alter")}, "AlterConfigs": {"DescribeConfigs"}}
"""What the broker allows to whoever has a right."""
_EVERYTHING = frozenset({"Read", "Write", "Create", "Delete", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"})
"""On a topic."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the broker tells of the rights of whoever asks. ``operations``: of what may be seen. ``unseen``: the rights that it tells
    nothing of; the rest of what was asked for is refused."""

    operations: Mapping[Where, frozenset[str]]
    unseen: frozenset[Right] = field(default_factory=frozenset)

    @property
    def is_open(self) -> bool:
        """Whether everything is allowed on every topic: the broker has no authorizer, or these are a super user's credentials. Of a topic
        that is not there yet, only whether it may be made is known."""
        topics = [operations for (resource, _), operations in self.operations.items() if resource == "topic" and operations != {"Create"}]
        return bool(topics) and all(operations >= _EVERYTHING for operations in topics)


def missing(needed: Iterable[Right], granted: Granted) -> list[Right]:
    """Rights that are certainly not there. Those that the broker does not tell of are left out, and those with a prefix."""
    return [
        right
        for right in needed
        if not right.is_prefix
        and right not in granted.unseen
        and right.operation not in granted.operations.get((right.resource, right.name), ())
    ]


def unknown(needed: Iterable[Right], granted: Granted) -> list[Right]:
    """Rights of which it can't be told whether they are there."""
    return [right for right in needed if right.is_prefix or right in granted.unseen]


def too_many(needed: Collection[Right], granted: Granted) -> list[Right]:
    """Rights that are there and not needed; what a needed one includes is needed."""
    wanted: defaultdict[Where, set[str]] = defaultdict(set)
    prefixes: list[tuple[Right, set[str]]] = []
    for right in needed:
        allowed = {right.operation, *_INCLUDES.get(right.operation, ())}
        if right.is_prefix:
            prefixes.append((right, allowed))
        else:
            wanted[(right.resource, right.name)] |= allowed
    found = []
    for (resource, name), operations in granted.operations.items():
        own = set(wanted[(resource, name)])
        for right, covered in prefixes:
            if right.resource == resource and name.startswith(right.name):
                own |= covered
        extra = operations - own
        # Of those that come with another one, the other one is enough to say.
        implied = {included for operation in extra for included in _INCLUDES.get(operation, ())}
        found += [Right(resource, name, cast(Operation, operation)) for operation in extra - implied]
    return sorted(found)


def together(rights: Iterable[Right]) -> list[str]:
    """One text for each resource.

    >>> together([Right("topic", "a", "Read"), Right("topic", "a", "Write"), Right("cluster", "kafka-cluster", "Create")])
    ['Create the cluster', 'Read, Write topic a']
    """
    by_resource: defaultdict[Where, list[str]] = defaultdict(list)
    for right in sorted(rights):
        by_resource[(right.resource, right.name)].append(right.operation)
    return [
        f"{', '.join(operations)} {'the cluster' if resource == 'cluster' else f'{resource} {name}'}"
        for (resource, name), operations in by_resource.items()
    ]
