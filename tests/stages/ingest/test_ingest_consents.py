"""Messages on consent, and what ingest passes on of shoppers who refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.privacy.consent import GATED, PERSONALIZATION, TRAINING, ConsentTable
from streams.serde.records import CONSENT, NOBODY, Consent
from streams.stages.ingest.clean import ASKS
from streams.stages.ingest.consents import ConsentBook
from streams.stages.ingest.stage import IngestStage
from streams.topics import BEHAVIOUR_RAW, CONSENT_DECISIONS, CONSENT_UPDATES
from tests.support.ingest_harness import CODECS, HASHES, JSON, NOW, RULES, Outcome, make_stage, record, run

ANNA, BROWSER = "anna-17", "browser-9"
DAY = 86_400_000
EVENT = {"event_type": "view", "item_id": "tent", "user_id": ANNA, "event_id": "e-1", "session_id": "s-1", "price": 9.9, "region": "DE"}


def book(allowed: set[str] | None = None) -> ConsentBook:
    return ConsentBook(CODECS.for_topic(CONSENT_DECISIONS), ConsentTable(allowed or set()))


def stage_with(consents: ConsentBook) -> IngestStage:
    return make_stage(consents=consents)


def message(purposes: Mapping[str, Any], at: int = NOW, offset: int = 0, user: str = ANNA, **more: Any) -> MemoryRecord:
    value = {"user_id": user, "purposes": purposes, "updated_at": at} | more
    key = more.pop("key", (user or more.get("anonymous_id") or "").encode())
    return MemoryRecord(CONSENT_UPDATES, 0, offset, NOW, key, json.dumps({k: v for k, v in value.items() if k != "key"}).encode(), JSON)


def decisions(found: Outcome) -> list[dict[str, Any]]:
    decode = CODECS.for_topic(CONSENT_DECISIONS).decode
    return [decode(output.value) for output in found.result.outputs if output.topic == CONSENT_DECISIONS]


def written(found: Outcome, first: int = 0) -> list[MemoryRecord]:
    outputs = [output for output in found.result.outputs if output.topic == CONSENT_DECISIONS]
    return [MemoryRecord(CONSENT_DECISIONS, 0, first + n, NOW, o.key, o.value) for n, o in enumerate(outputs)]


def test_a_message_becomes_decisions_and_an_event() -> None:
    given_ = message({PERSONALIZATION: True, "newsletter": False}, policy_version="v3", source="banner")
    found = run(stage_with(book()), [given_])
    assert {(d["purpose"], d["allowed"]) for d in decisions(found)} == {(PERSONALIZATION, True), ("newsletter", False)}
    assert {(d["policy_version"], d["source"], d["decided_at"], d["received_at"]) for d in decisions(found)} == {("v3", "banner", NOW, NOW)}
    pseudonym = HASHES.pseudonym(ANNA)
    assert {d["pseudonym"] for d in decisions(found)} == {pseudonym}
    (event,) = found.events
    assert (event["event_type"], event["pseudonym"], event["refused"]) == (CONSENT, pseudonym, [TRAINING])
    assert ANNA.encode() not in b"".join(output.value or b"" for output in found.result.outputs)


def test_nothing_is_allowed_before_a_shopper_says_so() -> None:
    consents = book()
    stage = stage_with(consents)
    (before,) = run(stage, [record(EVENT)]).events
    assert before["pseudonym"].startswith(NOBODY) and before["refused"] == list(GATED)
    run(stage, [message({PERSONALIZATION: True})])
    (after,) = run(stage, [record(EVENT | {"event_id": "e-2"}, offset=1)]).events
    assert (after["pseudonym"], after["item_id"], after["refused"]) == (HASHES.pseudonym(ANNA), "tent", [TRAINING])
    run(stage, [message({TRAINING: True}, offset=1)])
    (last,) = run(stage, [record(EVENT | {"event_id": "e-3"}, offset=2)]).events
    assert last["refused"] == []


def test_of_a_shopper_who_refuses_two_events_have_nothing_in_common() -> None:
    stage = stage_with(book())
    events = [EVENT | {"event_id": f"e-{n}", "recommendation_id": "a" * 32, "occurred_at": NOW - 600_000 * n} for n in range(2)]
    found = run(stage, [record(event, offset=n) for n, event in enumerate(events)])
    first, second = found.events
    same = {name for name in first if first[name] == second[name]} | {"occurred_at"}
    assert same <= {"event_type", "occurred_at", "quantity", "flags", "refused", "query", "item_id", "price_band", "currency", "country",
                    "recommendation_id", "position", "session", "linked_to", "request_id", "move"}  # fmt: skip
    for event in found.events:
        assert event["flags"] == ["unprofiled"]
        assert all(
            event[name] is None for name in ("item_id", "price_band", "currency", "country", "session", "recommendation_id", "query")
        )
    assert found.users == [ANNA, ANNA], "the subscriber, and nobody else, knows whose list it will be"
    assert not any(HASHES.pseudonym(ANNA).encode() in (o.key or b"") + (o.value or b"") for o in found.result.outputs)


@pytest.mark.parametrize("kind", ["view", "click", "search", "cart", "purchase", "wishlist", "impression", "dismiss", "return"])
def test_only_what_asks_for_a_list_is_passed_on(kind: str) -> None:
    event = EVENT | {"event_type": kind, "query": "红色 帐篷 tent"}
    found = run(stage_with(book()), [record(event)])
    assert len(found.events) == (kind in ASKS)
    assert [e["query"] for e in found.events] == (["红色 帐篷 tent"] if kind == "search" else [None] * (kind in ASKS))
    assert found.letters == []
    assert found.result.dropped == ({} if kind in ASKS else {"no_consent": 1})


def test_a_withdrawal_counts_from_the_next_event_on() -> None:
    stage = stage_with(book({PERSONALIZATION, TRAINING}))
    found = run(stage, [record(EVENT)])
    assert found.events[0]["pseudonym"] == HASHES.pseudonym(ANNA)
    run(stage, [message({PERSONALIZATION: False}, at=NOW - DAY)])
    (event,) = run(stage, [record(EVENT | {"event_id": "e-2"}, offset=1)]).events
    assert event["pseudonym"].startswith(NOBODY)


@given(st.lists(st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from(GATED), st.booleans(), min_size=1)), max_size=8), st.data())
def test_the_latest_by_its_own_time_counts(made: list[tuple[int, dict[str, bool]]], data: st.DataObject) -> None:
    """In any order, in any batches, repeated, with another worker that only reads what the first has written."""
    expected = {}
    for purpose in GATED:
        about = [(at, not purposes[purpose]) for at, purposes in made if purpose in purposes]
        if about:
            expected[purpose] = not max(about)[1]
    order = data.draw(st.permutations(made + made[:2]))
    first, second = book(), book()
    stage = stage_with(first)
    log: list[MemoryRecord] = []
    offset = 0
    last: list[str] | None = None
    while order:
        size = data.draw(st.integers(1, len(order)))
        batch, order = order[:size], order[size:]
        found = run(stage, [message(purposes, at=NOW - 10 + at, offset=offset + n) for n, (at, purposes) in enumerate(batch)])
        offset += size
        log += written(found, len(log))
        for event in found.events:
            last = event["refused"]
        if data.draw(st.booleans()):
            first.apply(log)
    second.apply(log)
    refused = [purpose for purpose in GATED if not expected.get(purpose)]
    assert list(first.refused(HASHES.pseudonym(ANNA))) == list(second.refused(HASHES.pseudonym(ANNA))) == refused
    assert last == (refused if made else None)


def test_a_batch_that_comes_again_gives_the_same() -> None:
    batch = [message({PERSONALIZATION: True}, at=NOW - 5), message({PERSONALIZATION: False}, at=NOW, offset=1)]
    stage = stage_with(book())
    before, again = run(stage, batch), run(stage, batch)
    kept = {output.record_id: output.value for output in before.result.outputs}
    for output in again.result.outputs:
        assert kept[output.record_id] == output.value
    assert again.events[-1]["refused"] == before.events[-1]["refused"] == list(GATED)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"purposes": {}}, "bad_consent"),
        ({"purposes": {"Personal Ization": True}}, "bad_consent"),
        ({"purposes": {f"p{n}": True for n in range(33)}}, "bad_consent"),
        ({"purposes": {PERSONALIZATION: True}, "source": "x" * 201}, "bad_consent"),
        ({"purposes": {PERSONALIZATION: True}, "key": b"ben"}, "key_mismatch"),
        ({"purposes": {PERSONALIZATION: True}, "key": None}, "key_mismatch"),
        ({"purposes": {PERSONALIZATION: "yes"}}, "undecodable"),
        ({"purposes": {PERSONALIZATION: True}, "user": "null"}, "nobody"),
        ({"purposes": {PERSONALIZATION: True}, "user": ""}, "key_mismatch"),
        ({"purposes": {PERSONALIZATION: True}, "at": -1}, "bad_time"),
    ],
)
def test_what_is_wrong_is_a_dead_letter_beside_good_ones(wrong: dict[str, Any], reason: str) -> None:
    consents = book()
    if wrong.get("user") == "":
        wrong = wrong | {"key": b"somebody"}
    found = run(
        stage_with(consents), [message({TRAINING: True}, offset=0), message(offset=1, **wrong), message({PERSONALIZATION: True}, offset=2)]
    )
    assert [letter["reason"] for letter in found.letters] == [reason]
    assert consents.refused(HASHES.pseudonym(ANNA)) == ()
    assert found.result.rejected == 1 and found.result.excused == 1


def test_from_the_future_a_refusal_counts_now_and_an_agreement_not_at_all() -> None:
    consents = book({PERSONALIZATION})
    stage = stage_with(consents)
    found = run(stage, [message({PERSONALIZATION: False, TRAINING: True}, at=NOW + 10 * DAY)])
    assert [letter["reason"] for letter in found.letters] == ["time_in_future"]
    assert consents.refused(HASHES.pseudonym(ANNA)) == GATED
    run(stage, [message({PERSONALIZATION: True, TRAINING: True}, at=NOW + 1, offset=1)])
    assert consents.refused(HASHES.pseudonym(ANNA)) == (), "and the next one, from now, counts"


@given(
    st.lists(st.tuples(st.integers(1, 10 * DAY), st.booleans(), st.integers(-400 * DAY, 400 * DAY)), min_size=1, max_size=6),
    st.integers(-400 * DAY, 400 * DAY),
)
def test_wherever_a_worker_s_clock_jumps_the_last_word_of_a_shopper_is_kept_if_it_is_a_refusal(
    said: list[tuple[int, bool, int]], jump: int
) -> None:
    consents, at = book({PERSONALIZATION}), NOW

    def says(allowed: bool, clock_ms: int) -> None:
        value = {"user_id": ANNA, "purposes": {PERSONALIZATION: allowed}, "updated_at": at, "policy_version": None, "source": None}
        consents.decide(cast(Consent, value), "k1.anna", min(at, clock_ms), RULES.max_future_ms)

    for later, allowed, off in said:
        at += later
        says(allowed, at + off)
    at += 1
    says(False, at + jump)
    assert PERSONALIZATION in consents.refused("k1.anna")
    at += 1
    says(True, at)
    assert PERSONALIZATION not in consents.refused("k1.anna"), "once the clock is right, the next agreement counts"


def test_an_older_message_changes_nothing_and_is_counted() -> None:
    stage = stage_with(book())
    found = run(stage, [message({PERSONALIZATION: False}, at=NOW), message({PERSONALIZATION: True}, at=NOW - 1, offset=1)])
    assert found.result.dropped == {"outdated": 1} and len(found.events) == 1


def test_a_browser_decides_for_itself() -> None:
    stage = stage_with(book())
    run(stage, [message({PERSONALIZATION: True, TRAINING: True}, user="", anonymous_id=BROWSER)])
    events = [EVENT | {"user_id": "", "anonymous_id": BROWSER}, EVENT | {"event_id": "e-2"}]
    browser, anna = run(stage, [record(event, offset=n) for n, event in enumerate(events)]).events
    assert browser["refused"] == [] and anna["pseudonym"].startswith(NOBODY)


@pytest.mark.parametrize(("user", "browser", "links"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_a_log_in_links_only_what_both_allow(user: bool, browser: bool, links: int) -> None:
    stage = stage_with(book())
    run(stage, [message({PERSONALIZATION: user}), message({PERSONALIZATION: browser}, user="", anonymous_id=BROWSER, offset=1)])
    found = run(stage, [record({"event_type": "identify", "user_id": ANNA, "anonymous_id": BROWSER, "consent": True}, offset=5)])
    assert len(found.events) == links and found.result.dropped == ({} if links else {"no_consent": 1})


def test_what_follows_the_topic_takes_no_rubbish() -> None:
    consents, pseudonym = book(), HASHES.pseudonym(ANNA)
    good = written(run(stage_with(book()), [message({PERSONALIZATION: True})]))[0]
    consents.apply([good, good._replace(value=b"rubbish", offset=1), good._replace(key=b"other/personalization", offset=2)])
    assert consents.bad_records == 2
    consents.apply(written(run(stage_with(book()), [message({"newsletter": False})])))
    assert consents.bad_records == 2 and consents.refused(pseudonym) == (TRAINING,)
    consents.apply([good._replace(value=None, offset=3)])
    assert consents.refused(pseudonym) == GATED


def test_one_that_refuses_can_still_be_throttled() -> None:
    stage = make_stage(replace(RULES, throttle_per_minute=3), consents=book())
    search = EVENT | {"event_type": "search", "query": "tent"}
    found = run(stage, [record(search | {"event_id": f"e-{n}"}, offset=n) for n in range(5)])
    assert len(found.events) == 3 and [letter["reason"] for letter in found.letters] == ["automated"] * 2


def test_raw_events_only_come_from_raw_topics() -> None:
    assert run(make_stage(), [record(EVENT, topic=BEHAVIOUR_RAW)]).events[0]["refused"] == []


def test_what_others_decided_is_read_at_a_take_over_only() -> None:
    waits: list[int] = []
    consents = book()

    async def catch_up() -> None:
        waits.append(len(waits))

    consents.catch_up = catch_up
    stage = stage_with(consents)
    for offset in (0, 1, 2, 7, 8, 3, 4):  # another worker had the partition before 7; a failed write comes again from 3 on
        run(stage, [message({PERSONALIZATION: True}, at=NOW - 100 + offset, offset=offset)])
    assert len(waits) == 3


def test_without_a_search_a_list_is_asked_for_as_rarely_as_by_others() -> None:
    stage = stage_with(book())
    times = [0, 30_000, 59_000, 60_000, 61_000, 200_000, 20_000]
    batch = [record(EVENT | {"event_id": f"e-{n}", "occurred_at": NOW - 900_000 + at}, offset=n) for n, at in enumerate(times)]
    found = run(stage, batch)
    assert len(found.events) == 4 and found.result.dropped == {"no_consent": 3}
    again = run(stage, batch[-2:])
    assert again.result.dropped.get("duplicate", 0) + len(again.events) == 2
    searches = [record(EVENT | {"event_type": "search", "query": "tent", "event_id": f"s-{n}"}, offset=20 + n) for n in range(3)]
    assert len(run(stage, searches).events) == 3
