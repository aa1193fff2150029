"""A profile goes to a new pseudonym: once, whatever the order, and nothing that was refused or forgotten comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError
from streams.privacy.consent import PERSONALIZATION, TRAINING
from streams.privacy.keys import MovesKey
from streams.privacy.moves import MovesReader, MovesSealer
from streams.ranking.rules import CODES
from streams.serde.records import CleanEvent
from streams.stages.profile.history import apply_event, is_first_regret
from streams.stages.profile.influence import popularity_weights
from streams.stages.profile.links import latest, whole_of
from streams.stages.profile.moves import ProfileMove, arrive, leave, united
from streams.stages.profile.profile import Moved, Profile, dump_profile, load_profile
from streams.stages.profile.together_counter import is_profile
from streams.stages.profile.withdrawal import decided, is_held_back
from streams.topics import BEHAVIOUR_CLEAN, DEAD_LETTER, PRIVACY_MOVES
from tests.stages.profile.test_profile_links import Did, did, events_of
from tests.support.profile_harness import (
    ProfileHarness,
    event,
    event_records,
    identify,
    link_records,
    of_topic,
    popularity,
    recommendations,
)
from tests.support.rotations import READER, SEALER, announcement, move_records, said
from tests.support.rules import profile_rules

RULES = profile_rules(half_life_ms=1_000_000.0, history_size=6, queries_max=2, bought_size=3, recommended_size=3)


def lived(things: Sequence[Did], first: int = 0) -> Profile:
    """A profile as the stage makes it, with what counted in popularity, and what was regretted and recommended."""
    profile = Profile()
    for offset, one in enumerate(events_of(things, "x", first)):
        clean: CleanEvent = one  # type: ignore[assignment]
        before_ms = profile.bought.get(clean["item_id"] or "")
        if apply_event(profile, clean, offset, RULES) and clean["item_id"] is not None:
            code = CODES[clean["event_type"]]
            is_first_regret(profile, clean["item_id"], code, before_ms is not None, RULES)
            popularity_weights(profile, clean["item_id"], code, clean["occurred_at"], RULES)
            profile.recommended = [*profile.recommended, (clean["occurred_at"], [clean["item_id"]])][-RULES.recommended_size :]
    return profile


def states_of(lives: Sequence[Sequence[Did]]) -> list[ProfileMove]:
    """What several old pseudonyms of one shopper send, or one several times."""
    found = []
    for number, things in enumerate(lives):
        _, sent = leave(lived(things, 100 * number), said(number, "move", "anna"), 10**6, RULES)
        found += sent
    return found


@given(did(), st.lists(did(), max_size=4), st.data())
def test_the_result_depends_on_no_order_and_on_no_repeat(own: list[Did], lives: list[list[Did]], data: st.DataObject) -> None:
    moves = states_of(lives)
    expected = lived(own, 5000)
    for move in moves:
        arrive(expected, move, RULES)
    steps = data.draw(st.permutations([*moves, *data.draw(st.lists(st.sampled_from(moves), max_size=4) if moves else st.just([]))]))
    found = Profile()
    places = sorted(data.draw(st.lists(st.integers(0, len(own)), min_size=len(steps), max_size=len(steps))))
    for at in range(len(own) + 1):
        for move, place in zip(steps, places, strict=True):
            if place == at:
                arrive(found, move, RULES)
                found = load_profile(dump_profile(found))
        if at < len(own):
            moved, found = found.moved, lived(own[: at + 1], 5000)  # see the next test for what is her own
            found.moved = moved
    assert dump_profile(found) == dump_profile(expected)


@given(did(), st.lists(did(), max_size=3))
def test_own_state_does_not_depend_on_what_arrived(own: list[Did], lives: list[list[Did]]) -> None:
    """The very functions that change a profile, with and without what came from elsewhere."""
    with_moved, alone = Profile(), Profile()
    for move in states_of(lives):
        arrive(with_moved, move, RULES)
    for offset, one in enumerate(events_of(own, "x", 5000)):
        clean: CleanEvent = one  # type: ignore[assignment]
        for profile in (with_moved, alone):
            if apply_event(profile, clean, offset, RULES) and clean["item_id"] is not None:
                popularity_weights(profile, clean["item_id"], CODES[clean["event_type"]], clean["occurred_at"], RULES)
    with_moved.moved = None
    assert dump_profile(with_moved) == dump_profile(alone)


@given(st.lists(did(), min_size=3, max_size=3))
def test_two_as_one_is_associative(lives: list[list[Did]]) -> None:
    states = [leave(lived(things, 100 * n), said(n, "move", "anna"), 10**6, RULES)[1] for n, things in enumerate(lives)]
    first, second, third = (sent[0].state if sent and sent[0].state is not None else Moved() for sent in states)
    left = united(united(first, second, RULES), third, RULES)
    assert left == united(first, united(second, third, RULES), RULES) == united(united(third, first, RULES), second, RULES)
    assert united(left, left, RULES) == left == united(left, Moved(), RULES)


@given(did())
def test_the_history_is_what_it_was(things: list[Did]) -> None:
    profile = lived(things)
    _, sent = leave(profile, said(1, "move", "anna"), 10**6, RULES)
    new = Profile()
    for move in sent:
        arrive(new, move, RULES)
    before, after = whole_of(profile, RULES), whole_of(new, RULES)
    assert (dict(after.items), dict(after.queries), dict(after.bought)) == (dict(before.items), dict(before.queries), dict(before.bought))


@given(did(), did())
def test_moved_twice_is_moved_on_as_a_whole(first: list[Did], second: list[Did]) -> None:
    """k1 to k2, something is done, and k2 to k3: as much as if there had been one move of both."""
    two = lived(second, 5000)
    for move in leave(lived(first), said(1, "move", "anna"), 10**6, RULES)[1]:
        arrive(two, move, RULES)
    three = Profile()
    for move in leave(two, said(2, "move", "anna"), 10**6, RULES)[1]:
        arrive(three, move, RULES)
    if three.moved is not None:
        assert dict(whole_of(three, RULES).bought) == latest(whole_of(two, RULES).bought, RULES.bought_size)
        assert {(one.is_query, one.ref) for one in three.moved.linked} <= {
            *((False, ref) for ref in {**two.items, **{o.ref: 0 for o in (two.moved or Moved()).linked}}),
            *((True, ref) for ref in {**two.queries, **{o.ref: 0 for o in (two.moved or Moved()).linked}}),
        }


def test_a_refusal_goes_along_and_nothing_else_does() -> None:
    refused = decided(lived([("view", "i1", 1)]), 7, [PERSONALIZATION, TRAINING])
    _, (sent,) = leave(refused, said(1, "move", "anna"), 9, RULES)
    new = lived([("view", "i2", 2)])
    assert arrive(new, sent, RULES)[0] and is_held_back(new) and not (new.moved or Moved()).linked
    # She decides anew, under the new pseudonym: that counts, whenever the move arrives.
    later = decided(Profile(), 3, [])
    arrive(later, sent, RULES)
    assert not is_held_back(later)


def test_a_refusal_under_the_new_pseudonym_takes_in_nothing() -> None:
    new = decided(Profile(), 3, [PERSONALIZATION])
    (sent,) = states_of([[("view", "i1", 1)]])
    assert not arrive(new, sent, RULES)[0] and new.moved is None


async def stage(reader: MovesReader = READER) -> ProfileHarness:
    shop = ProfileHarness()
    shop.moves = reader
    shop.restart()
    return shop


EVENTS = [event(1, "anna", "purchase", "i003", at_s=0), event(2, "anna", "view", "i004", at_s=90), event(3, "ben", "view", "i005", at_s=90)]


def new_event(number: int, who: str, kind: str, item: str, at_s: float) -> dict[str, Any]:
    return event(number, who, kind, item, at_s=at_s) | {"pseudonym": f"k2.{who}"}


async def test_a_profile_moves_across_partitions_and_goes_on() -> None:
    shop = await stage()
    left = await shop.run(event_records([*EVENTS, announcement(1, "move", "anna")]))
    (output,) = of_topic(left.outputs, PRIVACY_MOVES)
    assert output.key is None and output.partition is None and output.partition_key == b"k2.anna"
    assert load_profile(shop.state[b"k1.anna"]) == Profile(applied_offset=3, was_moved=True)
    assert b"k2" not in shop.state[b"k1.anna"] and b"anna" not in (output.value or b"")
    await shop.run(event_records([new_event(9, "anna", "view", "i006", 200)], partition=1, first=40))
    await shop.run(move_records(left.outputs, partition=1))
    result = await shop.run(event_records([new_event(10, "anna", "view", "i007", 400)], partition=1, first=41))
    (told,) = recommendations(result.outputs)
    because = {part["item_id"] for item in told["items"] for part in item["reasons"] if part["kind"] == "item"}
    assert None in because and because <= {None, "i006", "i007"}, "what she did before counts, and is not named while its events are there"
    week = event_records([new_event(11, "anna", "view", "i008", 8 * 86_400)], partition=1, first=42)
    (later,) = recommendations((await shop.run(week)).outputs)
    named = {part["item_id"] for item in later["items"] for part in item["reasons"] if part["kind"] == "item"}
    assert None not in named and named & {"i003", "i004"}
    assert "i003" not in {item["item_id"] for item in told["items"]}, "it was bought, under the old pseudonym"


async def test_what_comes_again_moves_nothing_again() -> None:
    shop = await stage()
    records = event_records([*EVENTS, announcement(1, "move", "anna")])
    left = await shop.run(records)
    again = await shop.run(records)
    assert not of_topic(again.outputs, PRIVACY_MOVES) and not again.state
    repeated = await shop.run(event_records([announcement(2, "move", "anna")], first=4))
    assert not of_topic(repeated.outputs, PRIVACY_MOVES), "there is nothing left"
    moves = move_records(left.outputs)
    await shop.run(moves)
    before = dict(shop.state)
    assert not (await shop.run(moves)).state and shop.state == before


async def test_what_a_worker_with_the_old_key_wrote_meanwhile_follows() -> None:
    shop = await stage()
    first = await shop.run(event_records([*EVENTS, announcement(1, "move", "anna")]))
    second = await shop.run(event_records([event(7, "anna", "view", "i008", at_s=500), announcement(2, "move", "anna")], first=4))
    for outputs in (second.outputs, first.outputs):
        await shop.run(move_records(outputs))
    moved = load_profile(shop.state[b"k2.anna"]).moved
    assert moved is not None and {one.ref for one in moved.linked} == {"i003", "i004", "i008"}


async def test_nobody_counts_twice_for_having_moved() -> None:
    shop = await stage()
    left = await shop.run(event_records([*EVENTS, announcement(1, "move", "anna")]))
    shop.publish(left.outputs)
    await shop.run(move_records(left.outputs))
    again = await shop.run(event_records([new_event(9, "anna", "purchase", "i003", 1)], first=4))
    assert popularity(left.outputs)["i003"][0] == pytest.approx(1.0) == popularity(again.outputs)["i003"][0]


@pytest.mark.parametrize("order", ["state first", "erase first"])
async def test_erased_in_a_rotation_is_in_no_state(order: str) -> None:
    """The move is on its way while the request comes."""
    shop = await stage()
    left = await shop.run(event_records([*EVENTS, announcement(1, "move", "anna")]))
    erase = event_records([event(8, "", "erase") | {"pseudonym": "k2.anna", "request_id": "r"}], partition=1, first=40)
    forgets = await shop.run(event_records([announcement(2, "forget", "anna", request_id="r")], first=4))
    if order == "state first":
        await shop.run(move_records(left.outputs, partition=1))
        await shop.run(erase)
    else:
        await shop.run(erase)
        await shop.run(move_records(left.outputs, partition=1))
        assert b"k2.anna" in shop.state, "it came after the request"
    await shop.run(move_records(forgets.outputs, partition=1, first=5))
    assert [key for key in shop.state if is_profile(key)] == [b"k1.ben"]


async def test_an_item_is_forgotten_on_both_sides() -> None:
    shop = await stage()
    left = await shop.run(event_records([*EVENTS, announcement(1, "move", "anna"), announcement(2, "forget", "anna", item_id="i003")]))
    await shop.run(move_records(left.outputs))
    assert b"i003" not in b"".join(shop.state[key] for key in (b"k1.anna", b"k2.anna")) and b"i004" in shop.state[b"k2.anna"]


async def test_a_refusal_in_a_rotation_leaves_nothing_of_before() -> None:
    shop = await stage()
    left = await shop.run(event_records([*EVENTS, announcement(1, "move", "anna")]))
    refusal = event(8, "", "consent") | {"pseudonym": "k2.anna", "refused": [PERSONALIZATION, TRAINING]}
    agreement = event(9, "", "consent") | {"pseudonym": "k2.anna"}
    told = await shop.run(event_records([announcement(2, "forget", "anna", refused=(PERSONALIZATION, TRAINING))], first=4))
    await shop.run(event_records([refusal, agreement], partition=1, first=40))
    for outputs, first in ((left.outputs, 0), (told.outputs, 5)):
        await shop.run(move_records(outputs, partition=1, first=first))
    found = load_profile(shop.state[b"k2.anna"])
    assert not is_held_back(found) and found.moved is None


async def test_a_browser_that_logs_in_takes_along_what_it_did_before() -> None:
    """Whatever has come to its new pseudonym already."""
    shop = await stage()
    await shop.run(event_records([event(1, "b", "view", "i003"), event(2, "b", "view", "i004", at_s=90)]))
    first = await shop.run(event_records([announcement(1, "move", "b")], first=2))
    log_in = event_records([identify(5, "b", "u") | {"pseudonym": "k2.b", "linked_to": "k2.u"}], partition=1, first=7)
    linked = await shop.run(log_in)
    second = await shop.run(event_records([announcement(2, "hand_over", "b", to="k2.u")], first=3))
    handed = [*(await shop.run(move_records(first.outputs, partition=1))).outputs]
    handed += (await shop.run(move_records(second.outputs, partition=1, first=1))).outputs
    await shop.run(move_records(handed, partition=2))
    assert not link_records(linked.outputs), "there was nothing yet when it logged in"
    user, browser = load_profile(shop.state[b"k2.u"]), load_profile(shop.state[b"k2.b"])
    assert set(whole_of(user, RULES).items) == {"i003", "i004"} and browser.moved is None


async def test_without_the_key_the_stage_stops() -> None:
    shop = await stage(MovesReader())
    with pytest.raises(ConfigurationError, match=r"no moves\.key"):
        await shop.run(event_records([announcement(1, "move", "anna")]))
    of_the_next = MovesSealer(MovesKey("k3", bytes(32)))
    shop = await stage(MovesReader(of_the_next, ["k1"]))
    with pytest.raises(ConfigurationError, match=r"but that of k3"):
        await shop.run(event_records([announcement(1, "move", "anna")]))
    shop = await stage(MovesReader(of_the_next, ["k2"]))
    assert (await shop.run(event_records([announcement(1, "move", "anna")]))).dropped == {"move_ended": 1}


async def test_what_nobody_with_the_key_sealed_is_a_dead_letter() -> None:
    shop = await stage()
    forged = announcement(1, "move", "anna")
    forged["move"] = forged["move"][:-1] + bytes([forged["move"][-1] ^ 1])
    other = announcement(2, "move", "ben") | {"move": SEALER.seal("profile", said(2, "move", "ben"))}
    result = await shop.run(event_records([*EVENTS, forged, other]))
    assert len(of_topic(result.outputs, DEAD_LETTER)) == 2 and not of_topic(result.outputs, PRIVACY_MOVES)
    assert BEHAVIOUR_CLEAN not in {output.topic for output in result.outputs}
