"""Logs of features: which events, what they hold, and that they can be rebuilt from the topics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streams.ranking.learned.features import FEATURES, PLACE, schema
from streams.stages.profile.feature_log import is_logged
from streams.topics import BEHAVIOUR_CLEAN, PROFILE_LINKS, RANKING_FEATURES
from tests.support.learned_shop import ITEMS, forest_ranker, shop
from tests.support.logging_shop import RULES, LoggingShop, busy_shop, some_events
from tests.support.profile_harness import event, identify


def levels_of(log: dict[str, object]) -> np.ndarray:
    return np.frombuffer(log["levels"], np.uint8).reshape(-1, len(FEATURES))  # type: ignore[call-overload, no-any-return]


async def test_a_log_holds_what_the_ranker_saw() -> None:
    found = await busy_shop(1)
    assert found.ranker is not None
    logs, made = found.logs, found.recommendations
    answered = [log for log in logs if log["recommendation_id"] is not None]
    assert {log["recommendation_id"] for log in answered} == set(made)
    for log in answered:
        recommendation = made[log["recommendation_id"]]
        assert [log["items"][place] for place in log["shown"]] == [item["item_id"] for item in recommendation["items"]]
        assert (log["source_offset"], log["created_at"]) == (recommendation["source_offset"], recommendation["created_at"])
        scores = found.ranker.scores(levels_of(log))
        np.testing.assert_array_equal(scores[log["shown"]], [item["score"] for item in recommendation["items"]])
        assert (np.sort(scores)[::-1][: len(log["shown"])] == scores[log["shown"]]).all(), "what was better could not be recommended"
    assert {log["policy"] for log in answered} == {"behaviour", "search"}
    silent = [log for log in logs if log["policy"] == "none"]
    assert silent and all(not log["shown"] and log["items"] and log["recommendation_id"] is None for log in silent)
    assert len({log["log_id"] for log in logs}) == len(logs)
    assert {log["features"] for log in logs} == {schema()}


async def test_an_answer_of_nothing_is_logged_too() -> None:
    found = await busy_shop(2, 2, rules=replace(RULES, threshold=1e6))
    asked = [log for log in found.logs if log["policy"] != "none"]
    assert not found.recommendations and asked
    assert all(log["recommendation_id"] is None and log["items"] and not log["shown"] for log in asked)


async def test_without_a_ranker_or_a_share_nothing_is_logged() -> None:
    assert not (await busy_shop(3, 2, ranker=None)).logs
    assert not (await busy_shop(3, 2, rules=replace(RULES, logged_share=0.0))).logs


async def test_a_replay_logs_the_same_events() -> None:
    rules = replace(RULES, logged_share=0.3)
    first = await busy_shop(4, 4, rules=rules)
    again = LoggingShop(rules)
    again.topics["items.vectors"] = first.topics["items.vectors"]
    again.follow()
    for partition, records in first.topics[BEHAVIOUR_CLEAN].items():
        await again.repeat(partition, records)
    events = sum(map(len, first.topics[BEHAVIOUR_CLEAN].values()))
    assert {log["log_id"] for log in first.logs} == {log["log_id"] for log in again.logs}
    assert 0 < len(first.logs) < 0.5 * events


@pytest.mark.parametrize("size", [1, 7])
async def test_logs_do_not_depend_on_where_batches_begin(size: int) -> None:
    logs = []
    for step in (30, size):
        found = LoggingShop(rules=replace(RULES, debounce_ms=60_000))
        found.put_items(np.random.default_rng(11), ITEMS)
        found.follow()
        events = some_events(np.random.default_rng(12), 0, 60)[0]
        for start in range(0, len(events), step):
            await found.run(0, events[start : start + step])
        logs.append({log["log_id"]: log for log in found.logs})
    assert logs[0] == logs[1]


async def test_what_came_again_after_a_crash_is_logged_under_the_same_id() -> None:
    found = await busy_shop(5, 1)
    batch = found.topics[BEHAVIOUR_CLEAN][0]
    before = [record.value for record in found.topics[RANKING_FEATURES][0]]
    found.states[0].clear()
    found.restart()
    found.follow()
    await found.repeat(0, batch)
    ids = [log["log_id"] for log in found.logs if log["pseudonym"] in {f"k1.u{n}" for n in range(0, 12, 3)}]
    assert before and ids[: len(before)] == ids[len(before) :]


def test_the_sample_has_the_share() -> None:
    events = [event(n, "u", "view", "i001") for n in range(4000)]
    for share in (0.02, 0.3, 1.0):
        found = sum(is_logged(one, share) for one in events) / len(events)  # type: ignore[arg-type]
        assert found == pytest.approx(share, abs=4 * (share * (1 - share) / len(events)) ** 0.5)


@pytest.mark.parametrize("seed", [6, 7])
async def test_every_log_is_rebuilt_from_the_topics(seed: int) -> None:
    found = await busy_shop(seed, **({"ranker": forest_ranker(seed, shop().related)} if seed % 2 else {}))
    checked = await found.check()
    assert len(checked) == len(found.logs) > 200
    assert {one.outcome for one in checked} == {"agrees"}, [one for one in checked if one.outcome != "agrees"][:3]
    assert min(one.equal for one in checked) > 0.999
    # The test would be empty if the boards said nothing.
    levels = np.concatenate([levels_of(log) for log in found.logs])
    varied = [name for name, place in PLACE.items() if len(np.unique(levels[:, place])) > 3]
    assert {"text_history", "pairs_history", "related", "popularity_2", "trend", "seen", "category", "price"} <= set(varied)


async def test_a_worker_that_begins_anew_logs_what_can_be_rebuilt() -> None:
    found = await busy_shop(8, restart_after=6)
    assert {one.outcome for one in await found.check()} == {"agrees"}


async def test_a_wrong_level_or_position_is_found() -> None:
    found = await busy_shop(9, 6)
    log = max(found.logs, key=lambda log: log["source_offset"])
    levels = levels_of(log).copy()
    levels[0, PLACE["trend"]] ^= 8
    (wrong,) = await found.check([{**log, "levels": levels.tobytes()}])
    assert (wrong.outcome, wrong.different) == ("differs", ("trend",))
    boards = [{**board, "next": [0] * len(board["next"])} if board["board"] == "popularity" else board for board in log["boards"]]
    (wrong,) = await found.check([{**log, "boards": boards}])
    assert wrong.outcome == "differs" and "popularity_5" in wrong.different


async def test_what_cannot_be_told_is_not_called_different() -> None:
    found = await busy_shop(10, 6)
    last = max(found.logs, key=lambda log: log["source_offset"])
    (other,) = await found.check([{**last, "features": "0" * 12}])
    assert (other.outcome, other.different) == ("untold", ("another table of features",))
    # Compaction leaves the last record of each key.
    for partition, records in found.topics["items.popularity"].items():
        kept = {record.key: record for record in records}
        found.topics["items.popularity"][partition] = sorted(kept.values(), key=lambda record: record.offset)
    outcomes = {one.outcome for one in await found.check()}
    assert "untold" in outcomes and "differs" not in outcomes
    (gone,) = await found.check([{**last, "source_offset": 10**6}])
    assert gone.outcome == "untold"


async def test_a_shopper_who_was_linked_is_untold_and_a_browser_is_rebuilt_with_what_it_kept() -> None:
    rng = np.random.default_rng(21)
    found = LoggingShop(rules=replace(RULES, debounce_ms=0))
    found.put_items(rng, ITEMS[:120])
    found.follow()
    for number in range(6):
        for partition, events in some_events(rng, number * 30, 30).items():
            # In the second half of the time, u1 turns out to be u2: another partition's.
            linked = [identify(10**6 + number, "u1", "u2", at_s=number * 900)] if partition == 1 and number >= 3 else []
            await found.run(partition, [*linked, *events])
            for record in found.topics.pop(PROFILE_LINKS, {}).get(partition, []):
                await found.repeat(2, [record])
            found.follow(rng)
    checked = {one.log_id: one.outcome for one in await found.check()}
    outcomes = {name: {checked[log["log_id"]] for log in found.logs if log["pseudonym"] == f"k1.{name}"} for name in ("u1", "u2", "u3")}
    assert outcomes == {"u1": {"agrees"}, "u2": {"agrees", "untold"}, "u3": {"agrees"}}
    assert "differs" not in checked.values() and len(checked) == len(found.logs)
