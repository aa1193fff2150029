"""A proof stands alone: with the public keys it shows that links were in the audit, and nothing else passes for one."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.audit import merkle
from streams.audit.anchors import Anchor
from streams.audit.chain import ChainId, Head, next_link
from streams.audit.proofs import Trees, check_proof

PROFILE, FEEDBACK, OPERATORS = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
KEYS = {"profile": [PROFILE.verify_key], "feedback": [FEEDBACK.verify_key], "operators": [OPERATORS.verify_key]}
NOW = 1_795_755_600_000


def audit(subject: str = "k1.anna") -> Trees:
    """Two chains; of the first of which links 3 and 5 are about anna, of the second link 0."""
    trees = Trees(subject)
    for stage, key, subjects in (
        ("profile", PROFILE, ["k1.ben", "k1.carl", "k1.ben", "k1.anna", "k1.ben", "k1.anna", "k1.dora"]),
        ("feedback", FEEDBACK, ["k1.anna"]),
    ):
        head = Head()
        for number, who in enumerate(subjects):
            link = next_link(
                head,
                ChainId(stage, "behaviour.clean/0@0"),
                key,
                action="erased",
                subject=who,
                details={"request_id": "t"},
                at_ms=NOW + number,
            )
            trees.take_link(link.record, None)
            head = link.head
    return trees


def made() -> dict[str, Any]:
    return json.loads(json.dumps(audit().proof(OPERATORS, NOW)))  # type: ignore[no-any-return]


def wrong(proof: dict[str, Any], **options: Any) -> list[str]:
    return check_proof(json.dumps(proof).encode(), options.pop("keys", KEYS), **options)[1]


def test_it_holds_and_names_nobody_else() -> None:
    proof = made()
    assert wrong(proof) == []
    assert [entry["link"]["sequence"] for entry in proof["links"]] == [3, 5, 0]
    assert "ben" not in json.dumps(proof) and "carl" not in json.dumps(proof)


def test_whatever_is_changed_is_seen() -> None:
    proof = made()

    def change(value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1
        return value[:-1] + ("0" if value[-1:] != "0" else "1") if isinstance(value, str) else value

    def places(value: Any, *where: Any) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [place for name, one in inner for place in places(one, *where, name)] or ([where] if not inner else [])

    tried = 0
    for place in places(proof):
        other = made()
        holder = other
        for name in place[:-1]:
            holder = holder[name]
        if not isinstance(holder[place[-1]], str | int):
            continue
        holder[place[-1]] = change(holder[place[-1]])
        tried += 1
        try:
            assert wrong(other) != [], place
        except ValueError:
            continue
    assert tried > 40


def test_a_link_of_a_stage_with_another_key_is_none() -> None:
    assert any("did not sign it" in why for why in wrong(made(), keys=KEYS | {"profile": [FEEDBACK.verify_key]}))
    assert any("operators did not sign" in why for why in wrong(made(), keys=KEYS | {"operators": []}))


def test_a_link_that_was_never_in_the_chain_is_seen() -> None:
    forged = next_link(
        Head(2, b"x" * 32), ChainId("profile", "behaviour.clean/0@0"), PROFILE, action="erased", subject="k1.anna", details={}, at_ms=NOW
    ).record
    proof = made()
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in forged.items()}
    proof["links"][0] = {"link": shown, "path": proof["links"][0]["path"]}
    assert wrong(proof) == ["link 0: it is not in the tree that operators signed"]


def test_an_anchor_that_knows_another_chain_is_told() -> None:
    chain = ChainId("profile", "behaviour.clean/0@0")
    tree = next(tree for tree in made()["trees"] if tree["stage"] == "profile")
    right, other = (Anchor(chain, Head(6, one), "the anchor file") for one in (bytes.fromhex(tree["head"]), b"x" * 32))
    assert wrong(made(), anchors=[right]) == []
    assert wrong(made(), anchors=[other]) == ["profile behaviour.clean/0@0: the anchor file knows another link 6"]


def test_of_nobody_there_is_no_proof() -> None:
    with pytest.raises(ValueError, match="no link is about"):
        audit("k1.nobody").proof(OPERATORS, NOW)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"7", b'{"format": 1}', b'{"format": 2, "subject": "", "made_at": 0, "trees": []}'])
def test_what_is_no_proof(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no proof|another version"):
        check_proof(data, KEYS)


@given(st.integers(1, 70), st.data())
def test_paths_lead_to_the_root_and_to_no_other(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf(bytes([n])) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    beside = merkle.path(leaves, index)
    assert merkle.root_of(leaves[index], index, size, beside) == merkle.root(leaves)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index or size == 1))
    if size > 1:
        assert merkle.root_of(leaves[index], other, size, beside) != merkle.root(leaves)
        assert merkle.root_of(leaves[other], index, size, beside) != merkle.root(leaves)
    assert merkle.root_of(leaves[index], index, size, [*beside, leaves[0]]) is None
    assert merkle.root_of(leaves[index], size, size, beside) is None


def test_the_trees_are_those_of_the_standard() -> None:
    """RFC 9162, section 2.1.5: a tree of seven leaves."""
    d = [merkle.leaf(bytes([n])) for n in range(7)]

    def node(left: bytes, right: bytes) -> bytes:
        return sha256(b"\x01" + left + right).digest()

    g, h, i, j = node(d[0], d[1]), node(d[2], d[3]), node(d[4], d[5]), d[6]
    k, m = node(g, h), node(i, j)
    assert merkle.root(d) == node(k, m)
    assert merkle.path(d, 0) == [d[1], h, m]
    assert merkle.path(d, 3) == [d[2], g, m]
    assert merkle.path(d, 4) == [d[5], j, k]
    assert merkle.path(d, 6) == [i, k]
