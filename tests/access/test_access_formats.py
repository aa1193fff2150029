"""Rights as commands, JSON and KafkaUser resources."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml

from streams.access.acls import as_json, commands, grants, wrapped
from streams.access.rights import ROLES, Right, rights_of
from streams.access.strimzi import kafka_user, manifests
from streams.cli.main import run
from streams.errors import ConfigurationError
from streams.settings import Settings
from tests.support import ROOT

CRD = ROOT.parent / "shared" / "crds" / "strimzi" / "044-Crd-kafkauser.yaml"


def read(text: str) -> set[tuple[str, Right]]:
    """The rights that a shell would grant."""
    found = set()
    for line in text.replace(" \\\n", " ").splitlines():
        if line.startswith("#"):
            continue
        program, *words = shlex.split(line)
        options: dict[str, list[str]] = {}
        for word in words:
            if word.startswith("--"):
                last = options.setdefault(word, [])
            else:
                last.append(word)
        assert program == "kafka-acls.sh" and "--add" in options
        where = [("topic", name) for name in options.get("--topic", [])] + [("group", name) for name in options.get("--group", [])]
        where += [("cluster", "kafka-cluster")] if "--cluster" in options else []
        prefixed = options.get("--resource-pattern-type") == ["prefixed"]
        for principal in options["--allow-principal"]:
            found |= {(principal, Right(r, n, o, prefixed)) for r, n in where for o in options["--operation"]}  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_commands_grant_the_rights_and_no_more(role: str) -> None:
    rights = rights_of(role, Settings(), idempotent_write=True)
    text = "\n".join(commands(role, ["User:a b", "User:c"], rights, bootstrap="kafka:9092", command_config="admin.properties"))
    assert read(text) == {(principal, right) for principal in ("User:a b", "User:c") for right in rights}
    assert sum(len(grant.names) * len(grant.operations) for grant in grants(rights)) == len(rights)
    assert "--command-config admin.properties" in text.replace(" \\\n ", "") and max(map(len, text.splitlines())) < 160


def test_a_name_for_a_shell_is_quoted() -> None:
    assert wrapped(["kafka-acls.sh", "--topic", "$(rm -rf x)"]) == "kafka-acls.sh --topic '$(rm -rf x)'"


def test_json_names_what_kafka_names() -> None:
    (one,) = json.loads(as_json([("subscribers", ["User:s"], [Right("group", "g", "Read", is_prefix=True)])]))
    assert one == {
        "role": "subscribers", "principal": "User:s", "host": "*", "resourceType": "GROUP", "resourceName": "g",
        "patternType": "PREFIXED", "operation": "Read", "permissionType": "ALLOW",
    }  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_kafka_users_fit_strimzi_s_definition(role: str) -> None:
    if not CRD.is_file():
        pytest.skip(f"Strimzi's resource definitions are not at {CRD}")
    definition = yaml.safe_load(CRD.read_text())
    (version,) = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
    rights = rights_of(role, Settings(), idempotent_write=True)
    (user,) = yaml.safe_load_all(manifests([(role, ["User:x"], rights)], cluster="shop", authentication="tls"))
    check(user, version["schema"]["openAPIV3Schema"], "")
    assert user["metadata"]["labels"]["strimzi.io/cluster"] == "shop" and user["spec"]["authentication"] == {"type": "tls"}
    found = set()
    for rule in user["spec"]["authorization"]["acls"]:
        resource = rule["resource"]
        for operation in rule["operations"]:
            prefixed = resource.get("patternType") == "prefix"
            found.add(Right(resource["type"], resource.get("name", "kafka-cluster"), operation, prefixed))
    assert found == set(rights)


def check(value: Any, schema: dict[str, Any], where: str) -> None:
    """Against what a definition says of types, fields and allowed words; where it names no fields, any are."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    assert isinstance(value, kinds[schema["type"]]), where
    assert value in schema.get("enum", [value]), f"{where}: {value}"
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema.get("required", [])) <= value.keys() <= schema["properties"].keys() | {"metadata"}, where
        for name, field in value.items():
            check(field, schema["properties"][name], f"{where}.{name}")
    for place, element in enumerate(value if isinstance(value, list) else []):
        check(element, schema["items"], f"{where}[{place}]")


def test_a_check_that_can_fail() -> None:
    with pytest.raises(AssertionError, match=r"\.a"):
        check({"a": "no"}, {"type": "object", "properties": {"a": {"type": "string", "enum": ["yes"]}}}, "")


@pytest.mark.parametrize("principal", ["User:CN=web,O=shop", "User:Web", "Group:web", "User:a_b"])
def test_a_name_that_no_kafka_user_can_have(principal: str) -> None:
    with pytest.raises(ConfigurationError, match="can't be a KafkaUser"):
        kafka_user(principal, "profile", [], cluster="c", authentication="tls")


def test_the_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", "shop.")
    assert run(["access", "acls", "--stage", "profile", "--principal", "profile=User:p", "--bootstrap", "k:1"]) == 0
    printed = capsys.readouterr().out
    of_profile = {right for right in rights_of("profile", Settings())}
    assert read(printed) == {("User:p", right) for right in of_profile} and "--bootstrap-server k:1" in printed
    assert run(["access", "acls", "--format", "json"]) == 0
    assert {one["role"] for one in json.loads(capsys.readouterr().out)} == set(ROLES)
    assert run(["access", "acls", "--format", "strimzi", "--stage", "ingest", "--stage", "analysts"]) == 0
    users = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [user["metadata"]["name"] for user in users] == ["veilstream-ingest", "veilstream-analysts"]
    assert run(["access", "show"]) == 0
    table = capsys.readouterr().out
    (row,) = [line for line in table.splitlines() if line.startswith("topic shop.training.tallies")]
    assert row.split()[2:] == ["RW", "CDG"] and "User:veilstream-ingest" in table
    assert run(["access", "acls", "--stage", "cook"]) == 2
    assert run(["access", "acls", "--principal", "cook=User:x"]) == 1
    assert "error: --principal must be ROLE=User:NAME" in capsys.readouterr().err
