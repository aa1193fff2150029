"""Rights follow from the table of topics and the stages; nobody has more."""

from __future__ import annotations

import pytest

from streams import topics
from streams.access.principals import principals
from streams.access.rights import CLIENTS, ROLES, Right, changelog_of, data_keys_of, rights_of
from streams.app import STAGES
from streams.cli.access import ROLE_NAMES
from streams.errors import ConfigurationError
from streams.settings import Settings


def settings(**given: object) -> Settings:
    return Settings.model_validate(given)


def names(role: str, operation: str, of: Settings | None = None) -> set[str]:
    return {right.name for right in rights_of(role, of or settings()) if right.operation == operation and right.resource == "topic"}


@pytest.mark.parametrize("stage", STAGES)
def test_the_table_says_what_the_stages_do(stage: str) -> None:
    """Rights come from the table: whoever changes a stage changes it there too."""
    spec = STAGES[stage]
    assert {topic.name for topic in topics.TOPICS if stage in topic.writers} == set(spec.outputs)
    assert {topic.name for topic in topics.TOPICS if stage in topic.readers} == {*spec.sources, *spec.follows}


def test_the_table_names_only_roles_that_are_known() -> None:
    assert {role for spec in topics.TOPICS for role in (*spec.writers, *spec.readers)} == set(ROLES)
    assert tuple(ROLES) == ROLE_NAMES, "the command's own list, which it has so that --help is quick"


def test_a_stage_reads_back_what_it_writes_and_keeps_its_state_alone() -> None:
    own = "veilstream-profile-profiles-changelog"
    data_keys = "veilstream-profile-profiles-keys"
    read = {*STAGES["profile"].sources, *STAGES["profile"].outputs, *STAGES["profile"].follows}
    assert names("profile", "Read") == read | {own, data_keys}
    assert names("profile", "Write") == {*STAGES["profile"].outputs, own, data_keys}
    assert names("profile", "Create") == names("profile", "Alter") == {own, data_keys}
    for stage in STAGES:
        for mine in (changelog_of(stage, settings()), data_keys_of(stage, settings())):
            rights = [(role, right.operation) for role in ROLES for right in rights_of(role, settings()) if right.name == mine]
            assert {role for role, _ in rights} == ({stage, "privacy", "operators"} if mine is not None else set())
            # `topics check` looks at what is kept, and not into it.
            assert {operation for role, operation in rights if role == "operators"} <= {"Describe", "DescribeConfigs"}
    assert {stage for stage in STAGES if data_keys_of(stage, settings())} == {"profile", "feedback"}
    states = [right for right in rights_of("privacy", settings()) if right.name.endswith("-changelog")]
    assert len(states) == 4 and {right.operation for right in states} == {"Read"}


def test_who_answers_shoppers_reads_what_is_held_of_them() -> None:
    """The topics of `veilstream export`, no raw ones, and writes requests and what the audit has of them."""
    held = {spec.name for spec in topics.TOPICS if spec.key == "pseudonym"} | {topics.CONSENT_DECISIONS}
    states = {of(stage, settings()) for stage in STAGES for of in (changelog_of, data_keys_of)} - {None}
    assert names("privacy", "Read") == held | states | {topics.PRIVACY_AUDIT}
    assert names("privacy", "Write") == {topics.PRIVACY_ERASURE, topics.PRIVACY_AUDIT}


def test_only_ingest_and_those_who_make_it_touch_raw_identities() -> None:
    raw = {spec.name for spec in topics.TOPICS if spec.raw_identity}
    reading = {role for role in ROLES if names(role, "Read") & raw}
    writing = {role for role in ROLES if names(role, "Write") & raw}
    assert (reading, writing) == ({"ingest"}, {"producers", "operators", "privacy"})


def test_each_stage_has_its_own_group_and_no_role_the_cluster() -> None:
    groups = {role: {right for right in rights_of(role, settings()) if right.resource == "group"} for role in ROLES}
    for stage in STAGES:
        assert groups[stage] == {Right("group", f"veilstream-{stage}", "Read")}
    assert groups["subscribers"] == {Right("group", "veilstream-subscribers", "Read", is_prefix=True)}
    assert not groups["producers"] and not groups["operators"] and not groups["trainer"]
    assert not any(right.resource == "cluster" for role in ROLES for right in rights_of(role, settings()))


def test_an_old_broker_wants_one_more_right_of_whoever_writes() -> None:
    def old(role: str, of: Settings) -> bool:
        return any(right.operation == "IdempotentWrite" for right in rights_of(role, of, idempotent_write=True))

    assert {role for role in ROLES if old(role, settings())} == set(ROLES) - {"subscribers", "analysts", "console"}
    assert not any(old(role, settings(idempotent_producer=False)) for role in ROLES)


def test_prefixes_and_the_shop_s_own_topics() -> None:
    own = settings(topic_prefix="shop.", app_prefix="shop", source_topics="raw.web=segment", items_source_topics="feed=google-merchant")
    assert {"shop.raw.web", "shop.behaviour.raw"} <= names("ingest", "Read", own)
    assert "shop.raw.web" not in names("ingest", "Write", own) and "shop.raw.web" in names("producers", "Write", own)
    assert "shop.feed" in names("catalogue", "Read", own) and "shop.feed" in names("trainer", "Read", own)
    assert {"shop.raw.web", "shop.feed"} <= names("operators", "Create", own) & names("operators", "Write", own)
    assert changelog_of("feedback", own) == "shop-feedback-outstanding-changelog" and changelog_of("ingest", own) is None
    assert all(right.name.startswith("shop") for role in ROLES for right in rights_of(role, own))


def test_a_role_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match="no role cook; choose from: ingest"):
        rights_of("cook", settings())


def test_principals() -> None:
    found = principals(["profile=User:CN=profile,O=shop", "producers=User:web", "producers=User:till"], settings(app_prefix="shop"))
    assert found["profile"] == ("User:CN=profile,O=shop",) and found["producers"] == ("User:web", "User:till")
    assert found["ingest"] == ("User:shop-ingest",) and set(found) == set(ROLES) > set(CLIENTS)


@pytest.mark.parametrize("text", ["profile", "cook=User:x", "profile=x", "profile=User:", "profile=User:a\nb", "=User:x"])
def test_principals_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--principal must be ROLE=User:NAME"):
        principals([text], settings())


def test_a_principal_of_two_roles_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="User:x is given to ingest and to profile"):
        principals(["ingest=User:x", "profile=User:x"], settings())
    with pytest.raises(ConfigurationError, match="User:veilstream-profile is given to ingest and to profile"):
        principals(["ingest=User:veilstream-profile"], settings())
