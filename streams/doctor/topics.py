"""Whether topics are as their table says. Pure; ``brokers`` sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from streams.doctor.findings import Finding
from streams.kafka.topic_setup import STATE_CONFIG, aligned_partitions, config_problem, partitions_problem, topic_config
from streams.topics import TopicSpec

_NAMED = 4
_FEW = 3
"""From so many brokers on, one copy of a topic is too few."""


@dataclass(frozen=True, slots=True)
class SeenTopic:
    """A topic as the cluster has it. ``replicas``: of the partition that has the fewest. ``unsynced``: partitions of which a replica is
    behind or gone. ``leaderless``: those that nobody can read now. ``config`` is None where it may not be seen."""

    partitions: int
    replicas: int
    unsynced: int = 0
    leaderless: int = 0
    config: Mapping[str, str] | None = None


def judge_topics(
    specs: Sequence[TopicSpec],
    seen: Mapping[str, SeenTopic],
    *,
    prefix: str,
    replication: int,
    brokers: int,
    servers: str,
    states: Set[str] = frozenset(),
    hidden: Set[str] = frozenset(),
) -> list[Finding]:
    """``seen``: by full name. ``servers``: the brokers' address, for commands that mend something. ``states``: full names of changelogs and
    topics of data keys, which stages make at their first start. ``hidden``: full names of topics that the credentials may not see, which is
    told with the rights."""
    names = {prefix + spec.name: spec for spec in specs}
    missing = [name for name in names if name not in seen and name not in hidden]
    if missing and len(missing) == len(names):
        return [Finding("topics", "fault", f"none of {len(names)} topics is there", "run `veilstream topics create`")]
    found = []
    if missing:
        found.append(Finding("topics", "fault", f"{_listed(missing)} {_are(missing)} missing", "run `veilstream topics create`"))
    counts = {name: one.partitions for name, one in seen.items()}
    aligned = aligned_partitions(counts, prefix)
    for name, spec in names.items():
        if name in seen:
            like = counts.get(prefix + (spec.like or ""), seen[name].partitions)
            problem = partitions_problem(name, spec, seen[name].partitions, aligned, like)
            found += _of_topic(name, seen[name], problem or config_problem(name, topic_config(spec), seen[name].config or {}, servers))
    for name in sorted(states & seen.keys()):
        found += _of_topic(name, seen[name], config_problem(name, STATE_CONFIG, seen[name].config or {}, servers))
    found += _of_copies(seen, replication, brokers)
    if not found:
        several = sorted({one.partitions for name, one in seen.items() if name in names and not names[name].single_partition})
        found.append(Finding("topics", "ok", f"{len(names) - len(hidden & names.keys())} topics, {_or(several)} partitions"))
    if any(one.config is None for one in seen.values()):
        why = "retention and compaction: the credentials may not see configurations (DescribeConfigs)"
        found.append(Finding("topics", "skipped", why, "run `veilstream topics check` as an operator"))
    return found


def _of_topic(name: str, one: SeenTopic, problem: str | None) -> list[Finding]:
    found = []
    if problem is not None:
        what, _, fix = problem.rpartition("; ")
        told = f"{name} {what}" if what.startswith("has ") else f"{name}: {what}"
        found.append(Finding("topics", "fault", told, f"run `{fix}`" if fix.startswith("kafka-") else fix))
    if one.leaderless:
        what = f"{one.leaderless} of {one.partitions} partitions of {name} have no leader: they can't be read or written"
        found.append(Finding("topics", "fault", what, "see which brokers are away"))
    return found


def _of_copies(seen: Mapping[str, SeenTopic], replication: int, brokers: int) -> list[Finding]:
    wanted = max(replication, 2 if brokers >= _FEW else 1)
    few: defaultdict[int, list[str]] = defaultdict(list)
    for name, one in seen.items():
        if one.replicas < wanted:
            few[one.replicas].append(name)
    found = [
        Finding(
            "topics",
            "warning",
            f"{_listed(names)} {_are(names)} on {copies} of {brokers} brokers, {wanted} are wanted: what is there only is lost with it",
            "add replicas with kafka-reassign-partitions.sh, and set VEILSTREAM_REPLICATION for new topics",
        )
        for copies, names in few.items()
    ]
    behind = [name for name, one in seen.items() if one.unsynced]
    if behind:
        what = f"replicas of {_listed(behind)} are behind or away"
        found.append(Finding("topics", "warning", what, "see which brokers are away or slow"))
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_NAMED])} and {more} more"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _or(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers)) or "1"
