"""An identify event names the user that an anonymous shopper is: only by consent, only by pseudonyms, and in the shopper's own order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError
from streams.sources.mapping import read_mapping
from streams.stages.ingest.rules import IngestRules
from streams.topics import BEHAVIOUR_CLEAN
from tests.support.ingest_harness import HASHES, NOW, RULES, Outcome, feed, make_stage, record, run

BROWSER, USER = "browser-4711", "anna.schmidt.1984"
IDENTIFY: dict[str, Any] = {"event_type": "identify", "user_id": USER, "anonymous_id": BROWSER, "consent": True}


def links(found: Outcome) -> list[tuple[str, str | None]]:
    """Shopper and user of what was passed on."""
    return [(event["pseudonym"], event["linked_to"]) for event in found.events if event["event_type"] == "identify"]


LINK = [(HASHES.pseudonym(f"anonymous:{BROWSER}"), HASHES.pseudonym(USER))]


@pytest.mark.parametrize("kind", ["identify", "Identify", " IDENTIFY "])
def test_it_is_the_browsers_event_and_names_the_user(kind: str) -> None:
    found = feed(IDENTIFY | {"event_type": kind})
    assert links(found) == LINK and found.users == [f"anonymous:{BROWSER}"] and not found.letters
    output = found.result.outputs[0]
    assert output.key == LINK[0][0].encode() and output.partition is None, "in the partition of what the browser did before"
    assert found.events[0]["item_id"] is found.events[0]["query"] is found.events[0]["session"] is None
    assert feed({"event_type": "view", "item_id": "1", "user_id": USER, "anonymous_id": BROWSER}).events[0]["linked_to"] is None


def test_nothing_of_it_names_anybody() -> None:
    for output in feed(IDENTIFY | {"item_id": USER, "query": BROWSER, "session_id": "s-1", "event_id": "e-1"}).result.outputs:
        for secret in (USER, BROWSER, "s-1", "e-1"):
            assert secret.encode() not in (output.key or b"") + (output.value or b"") + output.record_id


@pytest.mark.parametrize("consent", [None, False, "absent"])
def test_without_consent_it_is_dropped_and_counted(consent: Any) -> None:
    event = {name: value for name, value in (IDENTIFY | {"consent": consent}).items() if value != "absent"}
    found = feed(event)
    assert not found.result.outputs and found.result.dropped == {"no_consent": 1}
    assert found.result.rejected == 0 and not found.result.reasons, "trackers send many of them: no producer is at fault"


@pytest.mark.parametrize(
    "fields",
    [{"user_id": ""}, {"user_id": None}, {"user_id": "guest"}, {"anonymous_id": None}, {"anonymous_id": " "}, {"anonymous_id": "null"}],
)
def test_what_links_nobody_is_dropped_and_counted(fields: dict[str, Any]) -> None:
    found = feed(IDENTIFY | fields)
    assert not found.result.outputs and found.result.dropped == {"nothing_to_link": 1} and found.result.rejected == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"consent": "true"}, "undecodable"),
        ({"consent": 1}, "undecodable"),
        ({"user_id": f"anonymous:{BROWSER}"}, "bad_user"),
        ({"user_id": "a\x00b"}, "bad_user"),
        ({"anonymous_id": "x" * 300}, "bad_user"),
        ({"occurred_at": "soon"}, "bad_time"),
        ({"occurred_at": NOW + 10 * 86_400_000}, "time_in_future"),
    ],
)
def test_what_is_wrong_becomes_a_dead_letter(fields: dict[str, Any], reason: str) -> None:
    found = feed(IDENTIFY | fields)
    assert not found.events and [letter["reason"] for letter in found.letters] == [reason]


def test_nobody_is_never_linked_whatever_the_setting() -> None:
    rules = IngestRules(**{**{name: getattr(RULES, name) for name in RULES.__slots__}, "counts_nobody": True})
    found = run(make_stage(rules), [record(IDENTIFY | {"user_id": "guest"}), record(IDENTIFY | {"anonymous_id": "0"}, offset=1)])
    assert not found.result.outputs and found.result.dropped == {"nothing_to_link": 2}


def test_again_it_is_a_duplicate_and_another_event_of_its_id_is_none() -> None:
    own = {"event_id": "e-1"}
    view = {"event_type": "view", "item_id": "1", "anonymous_id": BROWSER}
    records = [record(value | own, offset=n) for n, value in enumerate([view, IDENTIFY, IDENTIFY, view])]
    stage = make_stage()
    found, again = run(stage, records), run(stage, records)
    assert [event["event_type"] for event in found.events] == ["view", "identify"] and found.result.dropped == {"duplicate": 2}
    assert [o.record_id for o in again.result.outputs] == [o.record_id for o in found.result.outputs]
    assert len({output.record_id for output in found.result.outputs}) == len({event["event_id"] for event in found.events}) == 2


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([True, False, None]))
def test_whatever_the_ids_are_it_links_two_different_pseudonyms_or_nothing(user: str, anonymous: str, consent: bool | None) -> None:
    found = feed(IDENTIFY | {"user_id": user, "anonymous_id": anonymous, "consent": consent})
    assert len(found.result.outputs) + sum(found.result.dropped.values()) == 1
    for shopper, linked_to in links(found):
        assert consent and linked_to is not None and shopper != linked_to
        assert linked_to == HASHES.pseudonym(user.strip()) or not user.isascii()


# --- as trackers say it

SEGMENT = {
    "type": "identify",
    "userId": USER,
    "anonymousId": BROWSER,
    "messageId": "m-1",
    "timestamp": "2026-11-27T04:00:00Z",
    "traits": {"email": "anna@example.com"},
    "context": {"consent": {"categoryPreferences": {"Advertising": False, "Personalization": True}}},
}
GA4_LOGIN = {
    "event_name": "login",
    "event_timestamp": "1795752000000000",
    "event_bundle_sequence_id": "7",
    "user_pseudo_id": BROWSER,
    "user_id": USER,
    "event_params": [{"key": "method", "value": {"string_value": "email"}}, {"key": "link_consent", "value": {"string_value": "true"}}],
    "items": [],
}
GA4_BODY = {
    "client_id": BROWSER,
    "user_id": USER,
    "timestamp_micros": 1795752000000000,
    "events": [{"name": "sign_up", "params": {"method": "email", "link_consent": True}}],
}
GDPR = "contexts_com_snowplowanalytics_snowplow_gdpr_1"
SNOWPLOW = {
    "event_name": "page_view",
    "event_id": "5f0a",
    "derived_tstamp": "2026-11-27T04:00:00Z",
    "domain_userid": BROWSER,
    "domain_sessionid": "d-1",
    "user_id": USER,
    GDPR: [{"basisForProcessing": "consent", "documentId": "x"}],
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("segment", SEGMENT),
        ("segment", SEGMENT | {"context": {}, "traits": {"link_consent": True}}),
        # https://www.rudderstack.com/docs/event-spec/standard-events/alias/
        ("segment", {"type": "alias", "previousId": BROWSER, "userId": USER, "messageId": "m-2", "context": SEGMENT["context"]}),
        ("ga4-bigquery", GA4_LOGIN),
        ("ga4-measurement-protocol", GA4_BODY),
        ("snowplow-ecommerce", SNOWPLOW),
        ("snowplow-ecommerce", SNOWPLOW | {GDPR: [{"basis_for_processing": "consent"}]}),
    ],
)
def test_presets_read_it(source: str, value: Any) -> None:
    found = feed(value, source=source)
    assert links(found) == LINK and not found.letters and len(found.events) == 1


@pytest.mark.parametrize(
    ("source", "value", "dropped"),
    [
        ("segment", SEGMENT | {"context": {}}, {"no_consent": 1}),
        ("segment", SEGMENT | {"context": {"consent": {"categoryPreferences": {"Personalization": False}}}}, {"no_consent": 1}),
        ("segment", SEGMENT | {"traits": {"link_consent": False}}, {"no_consent": 1}),
        ("segment", SEGMENT | {"userId": None}, {"nothing_to_link": 1}),
        ("segment", SEGMENT | {"anonymousId": None}, {"nothing_to_link": 1}),
        ("ga4-bigquery", GA4_LOGIN | {"event_params": [], "privacy_info": {"analytics_storage": "Yes"}}, {"no_consent": 1}),
        ("ga4-measurement-protocol", GA4_BODY | {"events": [{"name": "login", "params": {"link_consent": 1}}]}, {"no_consent": 1}),
        ("snowplow-ecommerce", SNOWPLOW | {GDPR: [{"basisForProcessing": "legitimate_interests"}]}, {"skipped": 1}),
        ("snowplow-ecommerce", SNOWPLOW | {GDPR: None}, {"skipped": 1}),
        ("snowplow-ecommerce", SNOWPLOW | {"user_id": None}, {"skipped": 1}),
        ("snowplow-ecommerce", SNOWPLOW | {"user_id": "guest"}, {"skipped": 1}),
        ("snowplow-ecommerce", SNOWPLOW | {"user_id": 1.5}, {"skipped": 1}),
    ],
)
def test_presets_link_nothing_without_consent_or_somebody(source: str, value: Any, dropped: dict[str, int]) -> None:
    found = feed(value, source=source)
    assert not found.result.outputs and found.result.dropped == dropped


def test_where_user_ids_have_no_event_of_their_own_the_first_of_a_session_counts() -> None:
    view = SNOWPLOW | {
        "event_name": "product_view",
        "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1": [{"id": "1"}, {"id": "2"}],
    }
    values = [SNOWPLOW, view | {"event_id": "5f0b"}, SNOWPLOW | {"event_id": "5f0c", "domain_sessionid": "d-2"}]
    found = run(make_stage(), [record(value, source="snowplow-ecommerce", offset=n) for n, value in enumerate(values)])
    assert [event["event_type"] for event in found.events] == ["identify", "view", "view", "identify"]
    assert links(found) == LINK * 2 and found.result.dropped == {"duplicate": 1}
    assert [event["pseudonym"] for event in found.events[1:3]] == [LINK[0][1]] * 2, "what she did is the user's own"


def test_a_mapping_says_where_consent_stands() -> None:
    fields = "fields: {type: t, user: u, anonymous: a, item: i, consent: {jmespath: \"contains(consents, 'C4')\"}}\n"
    text = f"source: s\nnamespace: web\ntypes: {{hello: identify}}\n{fields}"
    found = feed({"t": "Hello", "u": "7", "a": "8", "consents": ["C1", "C4"]}, mapping=text)
    assert links(found) == [(HASHES.pseudonym("anonymous:web:8"), HASHES.pseudonym("web:7"))]
    assert feed({"t": "Hello", "u": "7", "a": "8", "consents": ["C1"]}, mapping=text).result.dropped == {"no_consent": 1}
    assert feed({"t": "Hello", "u": "7", "a": "8"}, mapping=text).result.dropped == {"no_consent": 1}
    with pytest.raises(ConfigurationError, match="consent must be said"):
        read_mapping("source: s\nidentify: first_of_session\nfields: {type: t, user: u, anonymous: a, item: i}\n", "f")


def test_a_producer_in_quarantine_is_not_blamed_for_it() -> None:
    stage = make_stage()
    bad = [record({"event_type": "?"}, ("client-id", b"p"), offset=n) for n in range(200)]
    run(stage, [r._replace(headers=(*r.headers, ("content-type", b"application/json"))) for r in bad])
    found = run(stage, [record(IDENTIFY | {"consent": False}, ("client-id", b"p"), ("content-type", b"application/json"), offset=200)])
    assert [letter["reason"] for letter in found.letters] == ["quarantined"]
    assert not [output for output in found.result.outputs if output.topic == BEHAVIOUR_CLEAN]
