"""Published rankers beside which the product is measured; each gives scores float32 [shoppers, items] at a cut, higher is better."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmarks.retail import DAY_S, Cut, Scores

SEED = 20


def popularity(cut: Cut, days: float | None = None) -> Scores:
    """How often an item was bought, in all or in the last ``days``; the same for everybody."""
    past = cut.past
    recent = past.items if days is None else past.items[past.seconds >= cut.second - days * DAY_S]
    counts = np.bincount(recent, minlength=cut.shape[1]).astype(np.float32)
    return np.broadcast_to(counts, (len(cut.shoppers), len(counts))).copy()


def item_knn(cut: Cut, neighbours: int, *, last_basket: bool) -> Scores:
    """Sarwar, Karypis, Konstan, Riedl, "Item-based collaborative filtering recommendation algorithms" (WWW 2001): cosine of the
    items' shoppers; each item keeps its nearest neighbours; a shopper's score is the sum over the history, or over the last basket."""
    bought = cut.matrix()
    norms = np.sqrt(np.asarray(bought.sum(axis=0)).ravel())
    scaled = bought @ sparse.diags(np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0))
    similar = (scaled.T @ scaled).toarray().astype(np.float32)
    np.fill_diagonal(similar, 0.0)
    if neighbours < similar.shape[1]:
        bound = -np.partition(-similar, neighbours - 1, axis=0)[neighbours - 1]
        similar[similar < bound] = 0.0
    history = cut.last_baskets() if last_basket else bought
    return np.asarray(history[cut.shoppers] @ similar, np.float32)


def als(cut: Cut, *, factors: int, regularization: float, alpha: float, iterations: int, half_life_days: float | None) -> Scores:
    """Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008), by ``implicit``. The half-life is
    an addition in the baseline's favour: older purchases count less, as they do in the product."""
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=factors, regularization=regularization, alpha=alpha, iterations=iterations, num_threads=1, random_state=SEED, use_gpu=False
    )
    model.fit(cut.matrix(half_life_days), show_progress=False)
    return np.asarray(model.user_factors[cut.shoppers] @ model.item_factors.T, np.float32)


def bpr(cut: Cut, *, factors: int, learning_rate: float, regularization: float, iterations: int) -> Scores:
    """Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009), by
    ``implicit``."""
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=factors,
        learning_rate=learning_rate,
        regularization=regularization,
        iterations=iterations,
        num_threads=1,
        random_state=SEED,
        use_gpu=False,
    )
    model.fit(cut.matrix(), show_progress=False)
    return np.asarray(model.user_factors[cut.shoppers] @ model.item_factors.T, np.float32)


def ease(cut: Cut, l2: float, half_life_days: float | None = None) -> Scores:
    """Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019): B = I - P / diag(P), P = (XᵀX + λI)⁻¹. The half-life
    is an addition in the baseline's favour: it weighs the history that B is applied to."""
    bought = cut.matrix()
    gram = (bought.T @ bought).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += l2
    precision = np.linalg.inv(gram)
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(cut.matrix(half_life_days)[cut.shoppers] @ weights.astype(np.float32), np.float32)
