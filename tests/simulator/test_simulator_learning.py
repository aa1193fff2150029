"""The demo's view of learning: when the comparison of two models begins and ends, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.models.hotswap.serving_model import in_canary
from streams.privacy.keys import generate_keys, load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.settings import KafkaSettings, Settings
from streams.simulator.accounting import Account
from streams.simulator.learning import SETTINGS, Learning
from streams.simulator.shop import Shop
from streams.simulator.stages import StageProcesses

NEW, SHARE = "b" * 12, 0.5


@pytest.fixture
def learning(tmp_path: Path) -> Learning:
    generate_keys(tmp_path / "keys")
    settings = Settings.model_validate({"keys_dir": tmp_path / "keys"})
    account = Account(Pseudonymizer(load_pseudonym_key(tmp_path / "keys" / "pseudonym.key")))
    shop = Shop(1, 50, 60, 0, 1000)
    said: list[str] = []
    found = Learning(settings, KafkaSettings(), StageProcesses({}, tmp_path), shop, account, lambda _: None, said.append)
    found.candidate, found._share = NEW, SHARE
    return found


def pseudonyms(learning: Learning, inside: bool) -> list[str]:
    every = [learning._pseudonym(shopper.user_id) for shopper in learning._shop.shoppers]
    return [pseudonym for pseudonym in every if in_canary(pseudonym, SHARE, NEW) == inside]


def test_the_comparison_lasts_from_the_first_of_the_new_model_to_the_first_for_everybody(learning: Learning) -> None:
    shop = learning._shop
    learning.saw({"model_version": "a" * 12, "pseudonym": pseudonyms(learning, True)[0]})
    assert learning.comparison is None
    for shopper in shop.shoppers:
        shopper.sessions = 5
    learning.saw({"model_version": NEW, "pseudonym": pseudonyms(learning, True)[0]})
    for shopper in shop.shoppers:
        shopper.sessions += 1
        shopper.purchases += in_canary(learning._pseudonym(shopper.user_id), SHARE, NEW)
    learning.saw({"model_version": NEW, "pseudonym": pseudonyms(learning, True)[1]})
    assert not learning.promoted
    learning.saw({"model_version": NEW, "pseudonym": pseudonyms(learning, False)[0]})
    assert learning.promoted
    for shopper in shop.shoppers:
        shopper.sessions += 100
    summary = learning.summary()
    assert (summary["new_model_rate"], summary["first_model_rate"]) == (1.0, 0.0)
    assert summary["new_model_sessions"] + summary["first_model_sessions"] == sum(not shopper.control for shopper in shop.shoppers)
    assert summary["uplift_interval_95"][0] > 0
    assert list(summary["seconds"]) == ["serving", "everybody"]


def test_without_a_new_model_there_is_nothing_to_compare(learning: Learning) -> None:
    learning.candidate = None
    learning.saw({"model_version": NEW, "pseudonym": "k1.x"})
    summary = learning.summary()
    assert summary["promoted"] is False
    assert "new_model_rate" not in summary


def test_the_demos_settings_are_settings() -> None:
    Settings.model_validate({name.removeprefix("VEILSTREAM_").lower(): value for name, value in SETTINGS.items()})
