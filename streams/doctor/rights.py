"""What the credentials of a process lack at the broker, from what the broker tells. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from streams.access.comparing import Granted, missing, together, unknown
from streams.access.rights import Right
from streams.doctor.findings import Finding

_MORE = 3


def judge_rights(needed: Sequence[Right], granted: Granted, scope: str) -> list[Finding]:
    """One finding for each resource with a right that is missing; one for all where none is. Topics that the process makes itself at its
    first start have no other rights before."""
    if granted.is_open:
        return [Finding("rights", "ok", "everything is allowed: the broker has no authorizer, or these are a super user's credentials")]
    lacking = missing(needed, granted)
    unseen = [right for right in unknown(needed, granted) if "Create" not in granted.operations.get((right.resource, right.name), ())]
    command = "veilstream access acls" if scope == "all" else f"veilstream access acls --stage {scope}"
    who = "who runs every stage" if scope == "all" else scope
    found = [
        Finding("rights", "fault", f"{who} may not {text}", f"an administrator of the brokers grants it with what `{command}` prints")
        for text in together(lacking)
    ]
    if len(unseen) == len(needed):
        return [Finding("rights", "skipped", "the broker does not tell rights (before Kafka 2.3, or the embedded broker)")]
    if unseen:
        told = together(unseen)
        more = f" and {len(told) - _MORE} more" if len(told) > _MORE else ""
        what = f"the broker does not tell of {', '.join(told[:_MORE])}{more}: not there yet, or not to be seen"
        found.append(Finding("rights", "skipped", what))
    if not lacking:
        later = ", or will be with topics that it makes" if len(unknown(needed, granted)) > len(unseen) else ""
        found.insert(0, Finding("rights", "ok", f"{len(needed) - len(unseen)} of {len(needed)} rights of {who} are there{later}"))
    return found


def hidden_topics(needed: Sequence[Right], granted: Granted) -> set[str]:
    """Full names of topics that the credentials may do nothing with, so that they do not see them."""
    seen = {name for (resource, name), operations in granted.operations.items() if resource == "topic" and operations}
    return {right.name for right in missing(needed, granted) if right.resource == "topic" and right.name not in seen}
