"""Requests to forget: what ingest passes on, and what it forgets itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.engine.records import MemoryRecord
from streams.privacy.consent import GATED, ConsentTable
from streams.serde.records import ERASE
from streams.stages.ingest.consents import ConsentBook
from streams.topics import CONSENT_DECISIONS, CONSENT_UPDATES, PRIVACY_ERASURE, PRIVACY_FORGOTTEN
from tests.support.ingest_harness import CODECS, HASHES, JSON, NOW, make_stage, record, run

ANNA = "anna-17"


def book() -> ConsentBook:
    return ConsentBook(CODECS.for_topic(CONSENT_DECISIONS), ConsentTable(set()))


def request(user: str = ANNA, offset: int = 0, **more: Any) -> MemoryRecord:
    value = {"user_id": user, "request_id": "r-1", "requested_at": NOW} | more
    key = value.pop("key", (user or more.get("anonymous_id") or "").encode())
    return MemoryRecord(PRIVACY_ERASURE, 0, offset, NOW, key, json.dumps(value).encode(), JSON)


def agreed(user: str = ANNA) -> MemoryRecord:
    value = {"user_id": user, "purposes": {**dict.fromkeys(GATED, True), "newsletter": True}, "updated_at": NOW}
    return MemoryRecord(CONSENT_UPDATES, 0, 0, NOW, user.encode(), json.dumps(value).encode(), JSON)


def test_a_request_becomes_an_event_a_record_and_tombstones() -> None:
    consents = book()
    stage = make_stage(consents=consents)
    run(stage, [agreed()])
    found = run(stage, [request()])
    (event,) = found.events
    pseudonym = HASHES.pseudonym(ANNA)
    assert (event["event_type"], event["pseudonym"], event["item_id"], event["sealed_id"]) == (ERASE, pseudonym, None, b"")
    (forgotten,) = [CODECS.for_topic(PRIVACY_FORGOTTEN).decode(o.value) for o in found.result.outputs if o.topic == PRIVACY_FORGOTTEN]
    assert forgotten == {"pseudonym": pseudonym, "request_id": "r-1", "requested_at": NOW, "received_at": NOW, "item_id": None}
    tombstones = {o.key: o.value for o in found.result.outputs if o.topic == CONSENT_DECISIONS}
    assert tombstones == {f"{pseudonym}/{purpose}".encode(): None for purpose in (*GATED, "newsletter")}
    assert consents.refused(pseudonym) == GATED
    assert len({(o.topic, o.record_id) for o in found.result.outputs}) == len(found.result.outputs)
    assert run(stage, [request()]).result.outputs == found.result.outputs


def test_nothing_of_the_id_is_left_in_memory() -> None:
    stage = make_stage(consents=book())
    run(stage, [agreed()])
    run(stage, [record({"event_type": "view", "item_id": "x", "user_id": f" {ANNA} "})])
    identities = stage._cleaner._identities
    assert any(ANNA in raw for raw in identities._known)
    run(stage, [request()])
    assert not any(ANNA in raw for raw in identities._known)


@pytest.mark.parametrize("name", ["6f9619ff8b86d011b42d00c04fc964ff", "ticket-4711", "DSR/2026#12", "ord-20261130-99"])
def test_a_request_keeps_its_id_for_the_receipt(name: str) -> None:
    found = run(make_stage(consents=book()), [request(request_id=name)])
    assert [event["request_id"] for event in found.events] == [name]


def test_one_item_can_be_forgotten() -> None:
    consents = book()
    stage = make_stage(consents=consents)
    run(stage, [agreed()])
    found = run(stage, [request(scope="item:tent")])
    assert [event["item_id"] for event in found.events] == ["tent"]
    assert not any(output.topic == CONSENT_DECISIONS for output in found.result.outputs)
    assert consents.refused(HASHES.pseudonym(ANNA)) == ()


def test_a_browser_can_be_forgotten() -> None:
    (event,) = run(make_stage(consents=book()), [request("", anonymous_id="b-1")]).events
    assert event["pseudonym"] == HASHES.pseudonym("anonymous:b-1")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"request_id": " "}, "bad_request"),
        ({"request_id": "x" * 129}, "bad_request"),
        ({"request_id": "anna@example.org"}, "bad_request"),
        ({"request_id": "+4915112345678"}, "bad_request"),
        ({"request_id": "13800138000"}, "bad_request"),
        ({"scope": "everything"}, "bad_request"),
        ({"scope": "item:"}, "missing_item"),
        ({"key": b"ben"}, "key_mismatch"),
        ({"requested_at": "soon"}, "undecodable"),
        ({"user": "guest"}, "nobody"),
    ],
)
def test_what_is_wrong_is_a_dead_letter_beside_good_ones(wrong: dict[str, Any], reason: str) -> None:
    found = run(make_stage(consents=book()), [request(), request(**({"offset": 1} | wrong)), request("ben", offset=2)])
    assert [letter["reason"] for letter in found.letters] == [reason]
    assert len(found.events) == 2
