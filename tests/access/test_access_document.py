"""The table in docs/access.md is what the code gives."""

from __future__ import annotations

from streams.access.rights import ROLES, all_topics, changelog_of, data_keys_of, group_of, rights_of
from streams.app import STAGES
from streams.settings import Settings
from tests.support import ROOT

LETTERS = {"Read": "R", "Write": "W", "Create": "C", "Alter": "A", "Describe": "D", "DescribeConfigs": "G"}


def cell(role: str, resource: str, name: str | None) -> str:
    found = (right for right in rights_of(role, Settings()) if (right.resource, right.name) == (resource, name))
    return "".join(sorted((LETTERS[right.operation] for right in found), key="RWCADG".index))


def test_the_table_says_what_the_code_gives() -> None:
    settings = Settings()
    rows = [["", *(f"`{role}`" for role in ROLES)]]
    rows += [[f"`{spec.name}`", *(cell(role, "topic", spec.name) for role in ROLES)] for spec in all_topics(settings)]
    own = [cell(role, "topic", changelog_of(role, settings)) if role in STAGES else "" for role in ROLES]
    data_keys = [cell(role, "topic", data_keys_of(role, settings)) if role in STAGES else "" for role in ROLES]
    rows += [
        ["its own changelog", *own],
        ["its own data keys", *data_keys],
        ["its own group", *(cell(role, "group", group_of(role, settings)) for role in ROLES)],
    ]
    text = (ROOT / "docs" / "access.md").read_text(encoding="utf-8").splitlines()
    begin = text.index(next(line for line in text if line.startswith("| | `ingest`")))
    found = [[word.strip() for word in line.split("|")[1:-1]] for line in text[begin : begin + len(rows) + 1]]
    assert found[:1] + found[2:] == rows
