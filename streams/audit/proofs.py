"""A proof for one person, without the rest of the audit: that these links stood in it on a day, each in its place of its chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from nacl.signing import SigningKey, VerifyKey

from streams.audit import merkle
from streams.audit.anchors import Anchor
from streams.audit.chain import ChainId, Head, chain_of, is_link_of, link_hash
from streams.privacy.signing import is_signed, sign

_FORMAT = 1
_MOST_BYTES = 64 << 20


class Trees:
    """The links of every chain as they are verified, and those of one subject whole."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._hashes: dict[ChainId, dict[int, bytes]] = {}
        self.links: list[Mapping[str, Any]] = []

    def take_link(self, link: Mapping[str, Any], _record: object) -> None:
        """One that its stage signed."""
        self._hashes.setdefault(chain_of(link), {})[link["sequence"]] = link_hash(link)
        if link["subject"] == self._subject:
            self.links.append(link)

    def proof(self, key: SigningKey, at_ms: int) -> dict[str, Any]:
        """Of all links of the subject, to be written as JSON. ``key`` is that of who proves. Only of a topic in which all is right: else a
        link may be missing. Raises ValueError where there is nothing about the subject."""
        if not self.links:
            raise ValueError("no link is about this subject")
        leaves = {
            chain: [merkle.leaf(hashes[number]) for number in range(len(hashes))]
            for chain, hashes in self._hashes.items()
            if any(chain_of(link) == chain for link in self.links)
        }
        trees = [
            {
                **{"stage": chain.stage, "chain": chain.chain, "size": len(own), "root": merkle.root(own).hex()},
                "head": self._hashes[chain][len(own) - 1].hex(),
            }
            for chain, own in sorted(leaves.items())
        ]
        said = {"format": _FORMAT, "subject": self._subject, "made_at": at_ms, "trees": trees}
        links = [
            {"link": _shown(link), "path": [one.hex() for one in merkle.path(leaves[chain_of(link)], link["sequence"])]}
            for link in self.links
        ]
        return {**said, "signature": sign("audit proof", _canonical(said), key).hex(), "links": links}


def check_proof(data: bytes, keys: Mapping[str, Sequence[VerifyKey]], anchors: Iterable[Anchor] = ()) -> tuple[dict[str, Any], list[str]]:
    """The proof, and what is wrong with it: nothing if all it says is so. ``keys`` by stage, with those of operators, who prove. A chain of
    which ``anchors`` know another link at its end is wrong. Raises ValueError for what is no proof."""
    try:
        proof: dict[str, Any] = orjson.loads(data) if len(data) <= _MOST_BYTES else {}
        said = {name: proof[name] for name in ("format", "subject", "made_at", "trees")}
        if proof["format"] != _FORMAT:
            raise ValueError("it is of another version of veilstream")
        wrong = []
        if not any(is_signed("audit proof", _canonical(said), bytes.fromhex(proof["signature"]), key) for key in keys.get("operators", ())):
            wrong.append("operators did not sign it, or it was changed since")
        trees = {ChainId(tree["stage"], tree["chain"]): tree for tree in proof["trees"]}
        if not proof["links"]:
            wrong.append("it proves nothing: there is no link in it")
        for number, entry in enumerate(proof["links"]):
            wrong += [f"link {number}: {why}" for why in _wrong_of(entry, proof["subject"], trees, keys)]
        heads = {chain: Head(tree["size"] - 1, bytes.fromhex(tree["head"])) for chain, tree in trees.items()}
        for anchor in anchors:
            head = heads.get(anchor.chain)
            if head is not None and head.sequence == anchor.head.sequence and head.hash != anchor.head.hash:
                wrong.append(f"{anchor.chain}: {anchor.said_by} knows another link {head.sequence}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = str(error) if isinstance(error, ValueError) and str(error).startswith("it is of") else f"no proof ({type(error).__name__})"
        raise ValueError(why) from None
    return proof, wrong


def _wrong_of(
    entry: Mapping[str, Any], subject: str, trees: Mapping[ChainId, Mapping[str, Any]], keys: Mapping[str, Sequence[VerifyKey]]
) -> list[str]:
    link = _read(entry["link"])
    if link["subject"] != subject:
        return ["it is about somebody else"]
    if not any(is_link_of(link, key) for key in keys.get(link["stage"], ())):
        return [f"{link['stage']} did not sign it, or its public key is not here"]
    tree = trees.get(chain_of(link))
    if tree is None:
        return ["its chain is not among the proof's"]
    beside = [bytes.fromhex(one) for one in entry["path"]]
    found = merkle.root_of(merkle.leaf(link_hash(link)), link["sequence"], tree["size"], beside)
    return [] if found is not None and found.hex() == tree["root"] else ["it is not in the tree that operators signed"]


def _shown(link: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in link.items()}


def _read(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {**shown, "previous_hash": bytes.fromhex(shown["previous_hash"]), "signature": bytes.fromhex(shown["signature"])}


def _canonical(said: Mapping[str, Any]) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
