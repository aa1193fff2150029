"""docs/clients.md holds the examples word for word, and its ids, its rule and its test vector are true."""

from __future__ import annotations

import base64
import json
import re

import fastavro
import pytest
from nacl.bindings import sodium_unpad
from nacl.public import PrivateKey, SealedBox
from nacl.signing import VerifyKey

import schemas
from streams.errors import ConfigurationError
from streams.privacy.seal import open_sealed_id
from streams.serde.local_registry import LocalRegistry
from tests.support import ROOT
from tests.support.toolchains import EXAMPLES

DOCUMENT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROGRAMS = sorted(
    path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".mjs", ".java", ".sh") and "node_modules" not in path.parts
)


def test_the_programs_are_there() -> None:
    assert len(PROGRAMS) == 9


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_every_program_is_in_the_document(path: object) -> None:
    name = str(path).removeprefix(f"{ROOT}/")
    blocks = re.findall(rf"`{re.escape(name)}`:\n```\w+\n(.*?)```\n", DOCUMENT, re.S)
    assert blocks == [(ROOT / name).read_text(encoding="utf-8")]


def test_every_block_of_code_is_a_program() -> None:
    assert len(re.findall(r"^```\w+$", DOCUMENT, re.M)) == len(PROGRAMS)


def test_ids_in_the_table_and_in_the_programs() -> None:
    registry = LocalRegistry()
    rows = re.findall(r"^\| `([a-z.-]+)` \| `schemas/avro/\1\.avsc` \| (\d+) \|$", DOCUMENT, re.M)
    assert len(rows) == 6
    assert {topic: int(number) for topic, number in rows} == {topic: registry.id_for(topic) for topic, _ in rows}
    found = [
        (topic, int(number))
        for path in PROGRAMS
        for number, topic in re.findall(r"SCHEMA_ID = (\d+).*schemas/avro/([a-z.]+)\.avsc", path.read_text(encoding="utf-8"))
    ]
    assert len(found) == 6
    assert found == [(topic, registry.id_for(topic)) for topic, _ in found]


@pytest.mark.parametrize("topic", schemas.topic_names())
def test_the_rule_for_ids(topic: str) -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(schemas.current(topic)))
    fingerprint = int(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"), 16)
    assert fingerprint % 2**31 == LocalRegistry().id_for(topic)


def test_the_test_vector() -> None:
    values = dict(re.findall(r"^\| ([a-z' ]+) \| `([^`]+)` \|$", DOCUMENT, re.M))
    key = PrivateKey(base64.b64decode(values["secret key"]))
    ingest = VerifyKey(base64.b64decode(values["public key of ingest"]))
    sealed, pseudonym = base64.b64decode(values["sealed id"]), values["pseudonym"]
    assert open_sealed_id(key, sealed, pseudonym=pseudonym, verify_key=ingest) == values["the shopper's id"]
    assert sealed[0] == 1 and len(sealed) % 64 == 49
    name = pseudonym.encode()
    ingest.verify(b"veilstream sealed id\n" + bytes([len(name)]) + name + sealed[:-64], sealed[-64:])
    padded = SealedBox(key).decrypt(sealed[1:-64])
    assert len(padded) == len(sealed) - 1 - 48 - 64 and len(padded) % 64 == 0
    assert sodium_unpad(padded, 64).decode() == values["the shopper's id"]
    (other,) = re.findall(r"With the pseudonym `([^`]+)`, the sealed id must be refused", DOCUMENT)
    with pytest.raises(ConfigurationError, match="not made by ingest for this pseudonym"):
        open_sealed_id(key, sealed, pseudonym=other, verify_key=ingest)


def test_the_test_vector_from_before_the_update() -> None:
    values = dict(re.findall(r"^\| ([a-z' ]+) \| `([^`]+)` \|$", DOCUMENT, re.M))
    key = PrivateKey(base64.b64decode(values["secret key"]))
    ingest = VerifyKey(base64.b64decode(values["public key of ingest"]))
    old = base64.b64decode(values["from before the update"])
    assert len(old) % 64 == 48
    assert open_sealed_id(key, old, pseudonym="any", verify_key=ingest, accept_unsigned=True) == values["the shopper's id"]
    with pytest.raises(ConfigurationError, match="has no signature"):
        open_sealed_id(key, old, pseudonym="any", verify_key=ingest)
