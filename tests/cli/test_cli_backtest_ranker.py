"""Which ranker a backtest ranks with."""

from __future__ import annotations

from typing import Any, cast

import pytest
from rich.progress import Progress

from streams.backtest.runner import Backtest
from streams.cli.backtest import _ranked
from streams.ranking.learned.related import nothing_related
from streams.training.learned.fit import Fitted
from tests.support.learned_shop import additive_ranker


class Fits:
    """In place of a fit of minutes: a ranker, and how well it did."""

    def __init__(self, validation: dict[str, float]) -> None:
        self.fitted = Fitted(additive_ranker(1, nothing_related()), "additive", validation, 100, {})

    def fit(self, *given: object, **more: object) -> Fitted:
        return self.fitted


def ranked(validation: dict[str, float]) -> Any:
    found = Fits(validation)
    with Progress(disable=True) as progress:
        return found.fitted.ranker, _ranked(cast(Backtest, found), [], True, progress)


@pytest.mark.parametrize(("learned", "is_used"), [(0.2, True), (0.1, False), (0.05, False)])
def test_a_ranker_that_was_not_better_than_the_hand_set_weights_is_not_used(
    learned: float, is_used: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    ranker, used = ranked({"sum": 0.1, "additive": learned, "with interactions": 0.0})
    assert used is (ranker if is_used else None)
    assert ("the hand-set weights ranked better" in capsys.readouterr().out) is not is_used
