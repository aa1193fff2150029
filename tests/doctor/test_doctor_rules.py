"""What a checkup makes of what it sees, without seeing anything."""

from __future__ import annotations

import doctest

import pytest
from aiokafka.protocol.types import CompactString

from streams.access.comparing import Granted
from streams.access.rights import Right
from streams.app import STAGES
from streams.doctor import findings, limits
from streams.doctor.brokers import SeenBroker, judge_broker
from streams.doctor.findings import CHECKS, Finding, as_object, fault, has_fault, lines, summary
from streams.doctor.limits import judge_clock, judge_disk, judge_memory, judge_open_files
from streams.doctor.quorum import QuorumRequest, QuorumResponse, leaders_time
from streams.doctor.rights import hidden_topics, judge_rights
from streams.doctor.scope import SCOPES, folders_of, memory_of, rights_needed, topics_of, uses_model
from streams.doctor.topics import SeenTopic, judge_topics
from streams.kafka.topic_setup import STATE_CONFIG, topic_config
from streams.settings import Settings
from streams.topics import BEHAVIOUR_CLEAN, BY_NAME, FEEDBACK, ITEMS_VECTORS, MODELS, TOPICS

GIB = 1 << 30
SPECS = [BY_NAME[name] for name in (BEHAVIOUR_CLEAN, FEEDBACK, ITEMS_VECTORS, MODELS)]


STATES = {"p.veilstream-profile-profiles-changelog", "p.veilstream-profile-profiles-keys"}


def states(found: list[Finding]) -> list[str]:
    return [one.state for one in found]


def whole() -> dict[str, SeenTopic]:
    """The four topics, as they should be, with a prefix."""
    return {
        f"p.{spec.name}": SeenTopic(1 if spec.single_partition else 4, 3, config=topic_config(spec) | {"segment.bytes": "1"})
        for spec in SPECS
    }


def judged(seen: dict[str, SeenTopic], hidden: frozenset[str] = frozenset(), replication: int = 1, brokers: int = 3) -> list[Finding]:
    return judge_topics(SPECS, seen, prefix="p.", replication=replication, brokers=brokers, hidden=hidden, servers="a:9092", states=STATES)


def test_doctests() -> None:
    assert doctest.testmod(findings).failed == doctest.testmod(limits).failed == 0


def test_topics_that_are_right() -> None:
    assert judged(whole()) == [Finding("topics", "ok", "4 topics, 4 partitions")]


def test_no_topic_at_all_is_one_line() -> None:
    assert judged({}) == [Finding("topics", "fault", "none of 4 topics is there", "run `veilstream topics create`")]


def test_a_topic_that_may_not_be_seen_is_not_called_missing() -> None:
    seen = whole()
    del seen["p.models"], seen["p.feedback"]
    (found,) = judged(seen, frozenset({"p.models"}))
    assert (found.state, found.what) == ("fault", "p.feedback is missing")


@pytest.mark.parametrize(
    ("name", "changed", "state", "words"),
    [
        ("p.feedback", SeenTopic(7, 3, config={}), "fault", "p.feedback has 7 partitions, the others that must match have 4"),
        ("p.models", SeenTopic(2, 3, config={}), "fault", "p.models has 2 partitions instead of 1"),
        ("p.items.vectors", SeenTopic(4, 3, config={"cleanup.policy": "delete"}), "fault", "cleanup.policy is delete instead of compact"),
        ("p.behaviour.clean", SeenTopic(4, 3, config={"retention.ms": "-1"}), "fault", "retention.ms is -1"),
        ("p.models", SeenTopic(1, 3, leaderless=1, config={}), "fault", "1 of 1 partitions of p.models have no leader"),
        ("p.models", SeenTopic(1, 1, config={}), "warning", "p.models is on 1 of 3 brokers, 2 are wanted"),
        ("p.models", SeenTopic(1, 3, unsynced=1, config={}), "warning", "replicas of p.models are behind"),
        ("p.models", SeenTopic(1, 3), "skipped", "the credentials may not see configurations"),
    ],
)
def test_what_is_wrong_with_a_topic_is_named_with_what_to_do(name: str, changed: SeenTopic, state: str, words: str) -> None:
    found = [one for one in judged(whole() | {name: changed}) if one.state != "ok"]
    assert states(found) == [state] and words in found[0].what and found[0].fix


def test_what_a_stage_keeps_is_compacted_where_it_is_there() -> None:
    """A stage that never ran has made none."""
    keys = "p.veilstream-profile-profiles-keys"
    (found,) = [one for one in judged(whole() | {keys: SeenTopic(4, 3, config={"cleanup.policy": "delete"})}) if one.state != "ok"]
    assert found.what == f"{keys}: cleanup.policy is delete instead of compact"
    assert found.fix.startswith("run `kafka-configs.sh --bootstrap-server a:9092 --alter") and f"--entity-name {keys} " in found.fix
    assert states(judged(whole() | {keys: SeenTopic(4, 3, config=dict(STATE_CONFIG))})) == ["ok"]


def test_replicas_are_wanted_as_the_setting_says_and_never_more_than_one_on_a_single_broker() -> None:
    alone = {name: SeenTopic(one.partitions, 1, config=one.config) for name, one in whole().items()}
    assert states(judged(alone, brokers=1)) == ["ok"]
    assert [one.what for one in judged(alone, replication=3) if one.state == "warning"] == [
        "p.behaviour.clean, p.feedback, p.items.vectors, p.models are on 1 of 3 brokers, 3 are wanted: what is there only is lost with it"
    ]


READ, WRITE, GROUP = Right("topic", "a", "Read"), Right("topic", "b", "Write"), Right("group", "g", "Read")


def granted(*rights: Right, unseen: frozenset[Right] = frozenset()) -> Granted:
    return Granted({(right.resource, right.name): frozenset({right.operation, "Describe"}) for right in rights}, unseen)


def test_rights_that_are_there_missing_or_not_told() -> None:
    needed = [READ, WRITE, GROUP]
    (found,) = judge_rights(needed, granted(*needed), "profile")
    assert found == Finding("rights", "ok", "3 of 3 rights of profile are there")
    first, second = judge_rights(needed, granted(READ, unseen=frozenset({GROUP})), "profile")
    assert (first.state, first.what) == ("fault", "profile may not Write topic b") and "--stage profile`" in first.fix
    assert (second.state, second.what) == ("skipped", "the broker does not tell of Read group g: not there yet, or not to be seen")
    assert hidden_topics(needed, granted(READ, GROUP)) == {"b"}
    (found,) = judge_rights(needed, Granted({}, frozenset(needed)), "all")
    assert found.state == "skipped"


def test_a_topic_that_the_stage_will_make_is_no_riddle() -> None:
    create = Right("topic", "log", "Create")
    needed = [READ, create, Right("topic", "log", "Write")]
    (found,) = judge_rights(needed, granted(READ, create, unseen=frozenset({needed[2]})), "profile")
    assert found == Finding("rights", "ok", "3 of 3 rights of profile are there, or will be with topics that it makes")


def test_a_broker_that_asks_nobody() -> None:
    everything = frozenset({"Read", "Write", "Create", "Delete", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"})
    (found,) = judge_rights([READ], Granted({("topic", "a"): everything, ("topic", "not there"): frozenset({"Create"})}), "all")
    assert found.state == "ok" and "everything is allowed" in found.what


NEW = {0: 12, 1: 17, 3: 13, 22: 5}


@pytest.mark.parametrize(
    ("versions", "producer_error", "round_trip_ms", "in_clear", "expected"),
    [
        (NEW, 0, 1.0, None, ["ok"]),
        (NEW, 15, 1.0, None, ["ok"]),
        ({0: 2, 1: 3, 3: 8, 22: 0}, 0, 1.0, None, ["fault"]),
        ({key: value for key, value in NEW.items() if key != 22}, None, 1.0, None, ["fault"]),
        (NEW, -1, 1.0, None, ["fault"]),
        (NEW, 31, 1.0, None, ["fault"]),
        (NEW | {3: 7}, 0, 1.0, None, ["ok", "warning"]),
        (NEW, 0, 300.0, "all travels in the clear; set this", ["ok", "warning", "warning"]),
    ],
)
def test_brokers(
    versions: dict[int, int], producer_error: int | None, round_trip_ms: float, in_clear: str | None, expected: list[str]
) -> None:
    found = judge_broker(SeenBroker("a:9092", 3, round_trip_ms, versions, producer_error), idempotent=True, in_clear=in_clear)
    assert states(found) == expected and all(one.fix for one in found if one.state != "ok")


def test_a_broker_without_idempotent_producers_is_fine_where_none_is_wanted() -> None:
    (found,) = judge_broker(SeenBroker("a:9092", 1, 0.5, {0: 9, 1: 12, 3: 8}), idempotent=False, in_clear=None)
    assert found == Finding("broker", "ok", "a:9092: 1 broker, a round trip takes 0.5 ms")


@pytest.mark.parametrize(
    ("free", "used", "kind", "expected"),
    [
        (50 * GIB, GIB, "ext4", ["ok"]),
        (50 * GIB, GIB, None, ["ok"]),
        (2 * GIB, 3 * GIB, "ext4", ["warning"]),
        (1 << 20, 0, "ext4", ["fault"]),
        (50 * GIB, 0, "nfs4", ["warning"]),
        (1 << 20, 0, "fuse.sshfs", ["fault", "warning"]),
    ],
)
def test_disks(free: int, used: int, kind: str | None, expected: list[str]) -> None:
    found = judge_disk("VEILSTREAM_STATE_DIR", "var/state", free, used, kind)
    assert states(found) == expected and all("VEILSTREAM_STATE_DIR" in one.fix for one in found if one.state != "ok")


def test_memory_and_files() -> None:
    assert judge_memory(4 * GIB, 2 * GIB, None).state == "ok"
    tight = judge_memory(GIB, 2 * GIB, 3 * GIB)
    assert tight.state == "warning" and "1 GiB of the container's 3 GiB are available" in tight.what
    assert judge_open_files(1024, 4).state == "ok"
    assert judge_open_files(1024, 48).state == "warning" and "ulimit -n 4096" in judge_open_files(1024, 48).fix


@pytest.mark.parametrize(
    ("ahead_s", "within_s", "state"),
    [(0.2, 0.01, "ok"), (-4.0, 0.1, "ok"), (6.0, 2.0, "ok"), (-6.0, 0.1, "warning"), (59.0, 0.1, "warning"), (-3600.0, 0.1, "fault")],
)
def test_clocks(ahead_s: float, within_s: float, state: str) -> None:
    assert judge_clock(ahead_s, within_s).state == state


def test_the_leaders_time_is_read_from_the_answer() -> None:
    """An answer as a broker would encode it: three controllers, of which the second leads and is asked."""
    voters = [(1, 9, 5, 1_700_000_000_001, {}), (2, 9, 5, 1_700_000_000_002, {}), (3, 9, -1, -1, {})]
    partition = (0, 0, 2, 7, 9, voters, [], {})
    answer = QuorumResponse(0, [("__cluster_metadata", [partition], {})], {})
    assert leaders_time(QuorumResponse.decode(answer.encode())) == 1_700_000_000_002
    assert leaders_time(QuorumResponse(31, [], {})) is None
    request = QuorumRequest().prepare({55: (0, 2)})
    assert request.FLEXIBLE_VERSION and CompactString("utf-8").encode("__cluster_metadata") in request.encode()


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_needs_what_the_tables_say(scope: str) -> None:
    settings = Settings.model_validate({"source_topics": "raw.web=segment"})
    topics = {spec.name for spec in topics_of(scope, settings)}
    named = {right.name for right in rights_needed(scope, settings, sealed=True) if right.resource == "topic"}
    assert topics <= named and (scope != "all" or {spec.name for spec in TOPICS} <= topics)
    unsealed = {right.name for right in rights_needed(scope, settings, sealed=False)}
    kept = {name for name in named if name.endswith("-keys")}
    assert unsealed == {right.name for right in rights_needed(scope, settings, sealed=True)} - kept
    assert bool(kept) == (scope in ("profile", "feedback", "all"))
    assert ("VEILSTREAM_STATE_DIR" in folders_of(scope, settings)) == (scope != "trainer")
    plain = Settings.model_validate({"model": "hashing"})
    assert memory_of("profile", settings) > memory_of("profile", plain) == memory_of("ingest", settings)
    assert memory_of("all", settings) == sum(memory_of(stage, settings) for stage in STAGES)
    assert uses_model(scope) == (scope in ("catalogue", "profile", "trainer", "all"))


def test_a_finding_fits_eighty_columns_or_one_line() -> None:
    long = Finding("rights", "fault", "profile may not " + "Read, Write topic a.b.c " * 9, "an administrator grants it")
    assert len(lines(long)) == 1
    folded = lines(long, 80)
    assert len(folded) > 2 and all(len(line) <= 80 for line in folded)
    assert all(line.startswith(" " * 19) for line in folded[1:])


def test_the_summary_begins_with_what_comes_first() -> None:
    found = [
        Finding("settings", "warning", "X is no setting", "did you mean Y?"),
        fault("keys", "a key is missing; make it"),
        fault("broker", "it is away"),
        Finding("topics", "skipped", "the broker is away"),
    ]
    assert summary(found) == "2 faults, 1 warning, 1 skipped; begin with the keys: make it"
    assert found[2].fix.startswith("check KAFKA_BOOTSTRAP_SERVERS")
    assert has_fault(found) and not has_fault(found[:1])
    told = as_object(found, "profile")
    assert (told["stage"], told["healthy"], len(told["findings"])) == ("profile", False, 4)
    assert list(told["findings"][3]) == ["check", "state", "what", "fix"] and told["findings"][3]["fix"] is None
    assert len(set(CHECKS)) == len(CHECKS) == 11
