"""A rotation of the pseudonym key at ingest: who is announced, when, and that nothing in the open joins old and new."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.engine.records import MemoryRecord
from streams.privacy.consent import GATED, PERSONALIZATION, TRAINING, ConsentTable
from streams.privacy.moves import Announcement
from streams.serde.records import MOVE
from streams.stages.ingest.consents import ConsentBook
from streams.stages.ingest.stage import IngestStage
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, CONSENT_DECISIONS, CONSENT_UPDATES, PRIVACY_ERASURE
from tests.support.ingest_harness import CODECS, JSON, NOW, Outcome, make_stage, record, run
from tests.support.rotations import NEW, OLD, SEALER

ANNA, BROWSER = "anna-1984", "browser-9"
VIEW = {"event_type": "view", "item_id": "tent", "user_id": ANNA, "event_id": "e-1", "recommendation_id": "a" * 32}


def book(former: str | None = "k1", allowed: set[str] | None = None) -> ConsentBook:
    table = ConsentTable(set(GATED) if allowed is None else allowed)
    return ConsentBook(CODECS.for_topic(CONSENT_DECISIONS), table, former_key_id=former)


def overlapping(consents: ConsentBook | None = None) -> IngestStage:
    return make_stage(consents=consents, hashes=NEW, former=OLD, moves=SEALER)


def said(found: Outcome) -> list[Announcement]:
    return [SEALER.open("announcement", event["move"], Announcement) for event in found.events if event["event_type"] == MOVE]


def message(topic: str, value: dict[str, Any], offset: int = 0) -> MemoryRecord:
    key = (value["user_id"] or value.get("anonymous_id")).encode()
    return MemoryRecord(topic, 0, offset, NOW, key, json.dumps(value).encode(), JSON)


def consent(purposes: dict[str, bool], at: int = NOW, offset: int = 0) -> MemoryRecord:
    return message(CONSENT_UPDATES, {"user_id": ANNA, "purposes": purposes, "updated_at": at}, offset)


def decisions(found: Outcome) -> dict[str, Any]:
    decode = CODECS.for_topic(CONSENT_DECISIONS).decode
    outputs = [o for o in found.result.outputs if o.topic == CONSENT_DECISIONS]
    return {(o.key or b"").decode(): None if o.value is None else decode(o.value) for o in outputs}


def read_back(consents: ConsentBook, found: Outcome) -> None:
    outputs = [output for output in found.result.outputs if output.topic == CONSENT_DECISIONS]
    consents.apply([MemoryRecord(CONSENT_DECISIONS, 0, n, NOW, o.key, o.value) for n, o in enumerate(outputs)])


def test_a_shopper_is_announced_once_and_has_the_new_pseudonym_from_then_on() -> None:
    stage = overlapping()
    records = [record(VIEW | {"event_id": f"e-{n}"}, offset=n) for n in range(3)]
    found = run(stage, records)
    assert [event["event_type"] for event in found.events] == [MOVE, "view", "view", "view"]
    (told,) = said(found)
    assert (told.what, told.old, told.new) == ("move", OLD.pseudonym(ANNA), NEW.pseudonym(ANNA))
    assert {event["pseudonym"] for event in found.events[1:]} == {NEW.pseudonym(ANNA)}
    first = found.result.outputs[0]
    assert (first.key, first.partition_key) == (found.events[0]["pseudonym"].encode(), OLD.pseudonym(ANNA).encode())
    # The same records again, as after a failure: the same outputs, but for what is sealed anew.
    again = run(stage, records)
    assert [o.record_id for o in again.result.outputs] == [o.record_id for o in found.result.outputs]
    assert said(again) == said(found)
    # Another worker had the partition in between, perhaps without the new key.
    stage.recall([])
    assert [event["event_type"] for event in run(stage, [record(VIEW | {"event_id": "e-9"}, offset=9)]).events] == [MOVE, "view"]


def test_what_was_written_under_the_old_key_is_known_under_the_new_one() -> None:
    """By the record's id after a kill in the middle of a rotation, and by the event's where a producer repeats itself."""
    before = run(make_stage(hashes=OLD), [record(VIEW, offset=7)])
    stage = overlapping()
    after = run(stage, [record(VIEW, offset=7)])
    assert before.result.outputs[-1].record_id == after.result.outputs[-1].record_id
    other = overlapping()
    clean = before.result.outputs[-1]
    other.recall([MemoryRecord(BEHAVIOUR_CLEAN, 0, 0, NOW, clean.key, clean.value)])
    repeated = run(other, [record(VIEW, offset=8)])
    assert repeated.result.dropped == {"duplicate": 1} and not repeated.events


def test_without_an_old_key_nothing_is_announced() -> None:
    found = run(make_stage(hashes=NEW), [record(VIEW), record({"event_type": MOVE, "user_id": ANNA}, offset=1)])
    assert [event["event_type"] for event in found.events] == ["view"] and found.events[0]["recommendation_id"] == "a" * 32
    assert found.result.dropped == {"nothing_to_move": 1} and found.letters == []


def test_an_operator_names_those_who_do_not_show_up() -> None:
    stage = overlapping()
    listed = [record({"event_type": MOVE, "user_id": "", "anonymous_id": BROWSER}), record({"event_type": MOVE, "user_id": ANNA}, offset=1)]
    found = run(stage, [*listed, record(VIEW, offset=2)])
    assert [one.new for one in said(found)] == [NEW.pseudonym(f"anonymous:{BROWSER}"), NEW.pseudonym(ANNA)]
    assert [event["event_type"] for event in found.events] == [MOVE, MOVE, "view"] and found.letters == []
    assert not found.result.dropped


def test_a_browser_that_logs_in_is_handed_over_under_all_its_pseudonyms() -> None:
    event = {"event_type": "identify", "user_id": ANNA, "anonymous_id": BROWSER, "consent": True}
    found = run(overlapping(), [record(event)])
    user, browser = said(found)
    assert (user.what, user.old, user.new) == ("move", OLD.pseudonym(ANNA), NEW.pseudonym(ANNA))
    name = f"anonymous:{BROWSER}"
    assert (browser.what, browser.old, browser.new, browser.to) == ("hand_over", OLD.pseudonym(name), NEW.pseudonym(name), user.new)


def test_a_refusal_holds_from_the_first_event_on_and_is_never_in_neither_place() -> None:
    old = book(None)
    refused = run(make_stage(hashes=OLD, consents=old), [consent({PERSONALIZATION: False, "newsletter": True})])
    consents = book()
    read_back(consents, refused)
    stage = overlapping(consents)
    found = run(stage, [record(VIEW)])
    clean = found.events[-1]
    assert clean["refused"] == [PERSONALIZATION] and clean["pseudonym"].startswith("nobody.")
    moved = decisions(found)
    assert set(moved) == {f"{NEW.pseudonym(ANNA)}/{purpose}" for purpose in (PERSONALIZATION, "newsletter")}
    assert {k.rpartition("/")[2]: (v["allowed"], v["decided_at"]) for k, v in moved.items()} == {
        PERSONALIZATION: (False, NOW),
        "newsletter": (True, NOW),
    }
    # Only once the topic has it under the new pseudonym, it is removed under the old one.
    removed = {f"{OLD.pseudonym(ANNA)}/{purpose}": None for purpose in (PERSONALIZATION, "newsletter")}
    other = {"event_type": "view", "item_id": "x", "user_id": "ben"}
    assert decisions(run(stage, [record(other, offset=1)])) == {}
    read_back(consents, found)
    gone = run(stage, [record(other, offset=2)])
    assert decisions(gone) == removed == decisions(run(stage, [record(other, offset=2)])), "a record that comes again has the same outputs"
    assert decisions(run(stage, [record(other, offset=3)])) == {}
    # Another worker, that did not write it, finds both.
    later = overlapping(book())
    read_back(later._cleaner._refused.__self__, refused)  # type: ignore[attr-defined]
    read_back(later._cleaner._refused.__self__, found)  # type: ignore[attr-defined]
    assert decisions(run(later, [record(VIEW | {"event_id": "e-2", "event_type": "search", "query": "x"}, offset=4)])) == removed
    read_back(consents, gone)
    assert consents.refused(NEW.pseudonym(ANNA)) == (PERSONALIZATION,)


@pytest.mark.parametrize(("at", "in_force"), [(NOW - 1, False), (NOW + 1, True)])
def test_an_agreement_undoes_only_an_older_refusal_under_the_old_pseudonym(at: int, in_force: bool) -> None:
    consents = book(allowed=set())
    read_back(consents, run(make_stage(hashes=OLD, consents=book(None)), [consent({PERSONALIZATION: False, TRAINING: True})]))
    found = run(overlapping(consents), [consent({PERSONALIZATION: True}, at=at)])
    assert (PERSONALIZATION in consents.refused(NEW.pseudonym(ANNA), OLD.pseudonym(ANNA))) is not in_force
    own = decisions(found)[f"{NEW.pseudonym(ANNA)}/{PERSONALIZATION}"]
    assert own["allowed"] is in_force
    assert decisions(found)[f"{NEW.pseudonym(ANNA)}/{TRAINING}"]["allowed"] is True


def test_a_withdrawal_and_a_request_to_forget_are_said_of_both() -> None:
    consents = book()
    read_back(consents, run(make_stage(hashes=OLD, consents=book(None)), [consent({TRAINING: True})]))
    stage = overlapping(consents)
    withdrawn = run(stage, [consent({PERSONALIZATION: False}, at=NOW + 1)])
    (told,) = said(withdrawn)
    assert (told.what, told.refused, told.old) == ("forget", (PERSONALIZATION,), OLD.pseudonym(ANNA))
    request = {"user_id": ANNA, "request_id": "r-1", "requested_at": NOW}
    asked = run(stage, [message(PRIVACY_ERASURE, request)])
    (forgets,) = said(asked)
    assert (forgets.what, forgets.refused, forgets.request_id, forgets.item_id) == ("forget", (), "r-1", None)
    erase = asked.events[-1]
    assert (erase["event_type"], erase["pseudonym"]) == ("erase", NEW.pseudonym(ANNA))
    gone = decisions(asked)
    assert set(gone) == {f"{name}/{purpose}" for name in (NEW.pseudonym(ANNA), OLD.pseudonym(ANNA)) for purpose in GATED}
    assert not any(gone.values())
    assert OLD.pseudonym(ANNA) not in "".join(event["pseudonym"] for event in asked.events)
    item = run(stage, [message(PRIVACY_ERASURE, request | {"scope": "item:tent"}, 1)])
    assert [(one.what, one.item_id) for one in said(item)] == [("forget", "tent")]


def test_shuffled_announcements_of_one_shopper_keep_their_order() -> None:
    from dataclasses import replace

    from tests.support.ingest_harness import RULES

    stage = make_stage(replace(RULES, shuffles=True), hashes=NEW, former=OLD, moves=SEALER)
    log_in = {"event_type": "identify", "user_id": ANNA, "anonymous_id": BROWSER, "consent": True}
    views = [record({"event_type": "view", "item_id": "x", "user_id": f"u{n}"}, offset=n + 2) for n in range(30)]
    first = record({"event_type": "view", "item_id": "x", "user_id": "", "anonymous_id": BROWSER})
    found = run(stage, [first, record(log_in, offset=1), *views])
    of_browser = [one.what for one in said(found) if one.old == OLD.pseudonym(f"anonymous:{BROWSER}")]
    assert of_browser == ["move", "hand_over"]
    assert BEHAVIOUR_RAW not in {output.topic for output in found.result.outputs}
