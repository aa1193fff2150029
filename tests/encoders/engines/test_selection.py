"""The fastest of the exact ones, and never one whose error is no number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.engines import selection
from encoders.engines.selection import TEXTS, Trial, attempt, fastest

TRIALS = st.lists(st.builds(Trial, st.text(min_size=1), st.floats(0, 0.01), st.floats(0.001, 10)), min_size=1, unique_by=lambda t: t.name)


@given(TRIALS)
def test_none_that_passes_is_faster(trials: list[Trial]) -> None:
    passing = [trial for trial in trials if trial.error <= 1e-3]
    if not passing:
        with pytest.raises(ValueError, match="exact enough"):
            fastest(trials)
        return
    name = fastest(trials)
    chosen = next(trial for trial in passing if trial.name == name)
    assert all(chosen.seconds <= trial.seconds for trial in passing)


def test_nan_never_passes() -> None:
    assert fastest([Trial("broken", math.nan, 0.1), Trial("fp32", 0.0, 1.0)]) == "fp32"


def test_the_error_is_that_of_the_worst_text() -> None:
    reference = np.eye(len(TEXTS), dtype=np.float32)
    turned = reference.copy()
    turned[3] = 0.6 * reference[3] + 0.8 * reference[4]
    trial = attempt("turned", lambda texts: turned, reference)
    assert trial.error == pytest.approx(0.4, abs=1e-6)
    assert trial.seconds >= 0


@pytest.mark.parametrize(("enough_s", "is_reference", "calls"), [(9.0, False, 4), (9.0, True, 3), (0.0, False, 2), (1e-9, True, 1)])
def test_a_slow_engine_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch, enough_s: float, is_reference: bool, calls: int) -> None:
    counted: list[int] = []
    reference = np.eye(len(TEXTS), dtype=np.float32)

    def encode(texts: Sequence[str]) -> np.ndarray:
        counted.append(len(texts))
        return reference

    monkeypatch.setattr(selection, "_ENOUGH_S", max(enough_s, 1e-9))
    trial = attempt("one", encode, reference, is_reference=is_reference)
    assert len(counted) == calls
    assert trial.error == pytest.approx(0.0)
