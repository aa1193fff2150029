"""What the catalogue's own space does to vectors, beside a slow and independent reckoning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.item_space import LEAST_ITEMS, SHRINK_COVARIANCE, SHRINK_MEAN, fit, identity


def catalogue(seed: int, items: int, dimension: int = 16) -> np.ndarray:
    generator = np.random.default_rng(seed)
    spread = generator.uniform(0.05, 1.0, dimension)
    vectors = generator.standard_normal((items, dimension)) * spread + generator.standard_normal(dimension)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@given(st.integers(0, 1000), st.integers(LEAST_ITEMS, 3000))
@settings(max_examples=20, deadline=None)
def test_it_is_the_shrunk_covariance_s_inverse_root(seed: int, items: int) -> None:
    vectors = catalogue(seed, items)
    space = fit(vectors)
    covariance = np.cov(vectors.astype(np.float64), rowvar=False, bias=True)
    average = np.trace(covariance) / 16
    shrunk = (items * covariance + SHRINK_COVARIANCE * average * np.eye(16)) / (items + SHRINK_COVARIANCE)
    assert space.scale is not None
    assert space.scale @ shrunk @ space.scale.T == pytest.approx(average * np.eye(16), abs=1e-4 * average)
    mean = vectors.sum(axis=0, dtype=np.float64) / (items + SHRINK_MEAN)  # in float32 the sum itself is off by more than that
    assert space.mean == pytest.approx(mean, abs=1e-6)
    assert np.linalg.norm(space.transform(vectors), axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_large_catalogue_s_directions_are_alike_afterwards() -> None:
    vectors = catalogue(1, 60_000)
    space = fit(vectors)
    spread = np.linalg.eigvalsh(np.cov(((vectors - space.mean) @ space.scale).astype(np.float64), rowvar=False))
    before = np.linalg.eigvalsh(np.cov(vectors.astype(np.float64), rowvar=False))
    assert spread[-1] / spread[0] < (before[-1] / before[0]) / 20


def test_a_small_catalogue_is_only_centred() -> None:
    vectors = catalogue(2, LEAST_ITEMS - 1)
    space = fit(vectors)
    assert space.scale is None
    moved = vectors - vectors.sum(axis=0) / (LEAST_ITEMS - 1 + SHRINK_MEAN)
    assert space.transform(vectors) == pytest.approx(moved / np.linalg.norm(moved, axis=1, keepdims=True), abs=1e-5)


@pytest.mark.parametrize("items", [1, 2, LEAST_ITEMS, 5000])
def test_identical_titles_stay_finite_and_alike(items: int) -> None:
    vectors = np.repeat(catalogue(3, 1), items, axis=0)
    found = fit(vectors).transform(vectors)
    assert np.isfinite(found).all()
    assert found @ found[0] == pytest.approx(np.linalg.norm(found[0]) ** 2, abs=1e-5)


def test_an_empty_catalogue_changes_nothing() -> None:
    asked = catalogue(4, 3)
    assert fit(np.zeros((0, 16), np.float32)).transform(asked) == pytest.approx(asked, abs=1e-6)
    assert identity(16).transform(asked) == pytest.approx(asked, abs=1e-6)


def test_free_rows_neither_count_nor_move() -> None:
    vectors = catalogue(5, 400)
    with_gaps = np.concatenate([vectors, np.zeros((300, 16), np.float32)])
    assert fit(with_gaps).scale == pytest.approx(fit(vectors).scale, abs=1e-5)
    out = np.full_like(with_gaps, 7.0)
    fit(with_gaps).transform_rows(with_gaps, out)
    assert not out[400:].any()
    assert np.linalg.norm(out[:400], axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_slightly_changed_catalogue_changes_the_space_slightly() -> None:
    """The symmetric form has no directions whose order or sign could turn over."""
    vectors = catalogue(6, 2000)
    changed = vectors.copy()
    changed[:20] = vectors[20:40]
    cosines = (fit(vectors).transform(vectors) * fit(changed).transform(vectors)).sum(axis=1)
    assert cosines.min() > 0.99
