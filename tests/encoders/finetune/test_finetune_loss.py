"""The loss against loops, and batches against what they must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.finetune.batches import assemble, heaviest
from encoders.finetune.examples import Example
from encoders.finetune.loss import contrastive, drift, example_weights, placed
from encoders.finetune.memory import mine
from encoders.item_space import fit

seeds = st.integers(0, 2**32 - 1)


def unit(random: np.random.Generator, rows: int) -> np.ndarray:
    vectors = random.normal(size=(rows, 5))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(seeds, st.integers(1, 6), st.integers(1, 8), st.sampled_from([0.05, 0.1, 1.0]))
def test_contrastive_is_the_loop(seed: int, users: int, items: int, temperature: float) -> None:
    random = np.random.default_rng(seed)
    u, v, targets = unit(random, users), unit(random, items), random.integers(0, items, users)
    allowed, log_q = random.random((users, items)) < 0.6, np.log(random.uniform(0.01, 1, (users, items))).astype(np.float32)
    weights = (random.random(users) * (random.random(users) < 0.8)).astype(np.float32)
    total = 0.0
    for i in range(users):
        logit = [float(u[i] @ v[c]) / temperature - float(log_q[i, c]) for c in range(items)]
        kept = [c for c in range(items) if allowed[i, c] or c == targets[i]]
        total += float(weights[i]) * (math.log(sum(math.exp(logit[c]) for c in kept)) - logit[targets[i]])
    expected = total / float(weights.sum()) if weights.sum() else 0.0
    given_ = [torch.from_numpy(array) for array in (u, v, targets, allowed, log_q, weights)]
    assert float(contrastive(*given_, temperature=temperature)) == pytest.approx(expected, abs=2e-4, rel=2e-4)


@given(seeds)
def test_what_is_left_out_has_no_gradient(seed: int) -> None:
    random = np.random.default_rng(seed)
    u, v = torch.from_numpy(unit(random, 3)), torch.from_numpy(unit(random, 4)).requires_grad_()
    allowed = torch.ones(3, 4, dtype=torch.bool)
    allowed[:, 3] = False
    contrastive(u, v, torch.tensor([0, 1, 2]), allowed, torch.zeros(3, 4), torch.ones(3), temperature=0.1).backward()
    assert v.grad is not None
    assert not v.grad[3].any()
    assert v.grad[:3].any()


def test_no_weight_no_loss() -> None:
    v = torch.eye(3).requires_grad_()
    loss = contrastive(v, v, torch.arange(3), torch.ones(3, 3, dtype=torch.bool), torch.zeros(3, 3), torch.zeros(3), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert v.grad is not None
    assert not v.grad.any()


def test_weights_drift_and_the_items_space() -> None:
    found = example_weights(torch.tensor([2.0, 1.0, 1.0]), torch.tensor([0.5, 0.001, 1.0]), 10.0)
    assert found.tolist() == [4.0, 10.0, 1.0]
    a = torch.eye(2)
    assert float(drift(a, a)) == 0
    assert float(drift(a, a.flip(0))) == 1
    moved = placed(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([0.5, 0.0]), None)
    assert torch.allclose(moved, torch.nn.functional.normalize(torch.tensor([[0.5, 0.0], [0.1, 0.8]]), dim=1))
    vectors = np.random.default_rng(5).standard_normal((400, 8)).astype(np.float32)
    space = fit(vectors)
    assert space.scale is not None
    same = placed(torch.from_numpy(vectors), torch.from_numpy(space.mean), torch.from_numpy(space.scale))
    assert np.abs(same.numpy() - space.transform(vectors)).max() < 1e-5


@given(seeds, st.integers(1, 12))
def test_a_batch_holds_each_text_once_and_no_false_negative(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    count = 15
    examples = [
        Example(int(random.integers(4)), tuple(random.integers(0, count, 5).tolist()), tuple(random.normal(size=5).tolist()),
                int(random.integers(count)), 1.0, 1.0, 0) for _ in range(size)
    ]  # fmt: skip
    owned: dict[int, set[int]] = {}
    for e in examples:
        owned.setdefault(e.user, set()).update((*e.history, e.target))
    positives = [np.array(sorted(owned[e.user])) for e in examples]
    vectors = unit(random, count)
    negatives = mine(unit(random, size), vectors, np.arange(count), positives, count=2, pool=4, random=random)
    live = [heaviest(e, 3, 0)[:2] for e in examples]
    inclusion = random.uniform(0.1, 0.9, count)
    batch = assemble(examples, live, negatives, positives, inclusion)
    assert len(set(batch.texts.tolist())) == len(batch.texts)
    columns = batch.texts[batch.candidates]
    assert len(set(columns.tolist())) == len(columns)
    drawn = {e.target for e in examples}
    for row, e in enumerate(examples):
        own = set(negatives[row].tolist())
        assert not own & owned[e.user], "a negative is never the user's own"
        assert columns[batch.targets[row]] == e.target
        allowed = set(columns[batch.allowed[row]].tolist())
        assert allowed == {e.target} | own | (drawn - owned[e.user])
        for column, text in enumerate(columns):
            if text in allowed:
                expected = 0.0 if text in own else math.log(inclusion[text])
                assert batch.log_inclusion[row, column] == pytest.approx(expected, rel=1e-5)
        assert np.allclose(batch.history[row][np.searchsorted(batch.texts, live[row][0])], live[row][1])
        assert np.count_nonzero(batch.history[row]) <= 3


@given(seeds, st.integers(1, 4), st.integers(0, 4))
def test_histories_are_cut_by_weight(seed: int, live: int, stale: int) -> None:
    random = np.random.default_rng(seed)
    texts, weights = random.integers(0, 6, 8), random.random(8)
    example = Example(0, tuple(texts.tolist()), tuple(weights.tolist()), 0, 1.0, 1.0, 0)
    first, first_weights, rest, rest_weights = heaviest(example, live, stale)
    sums = {int(text): float(weights[texts == text].sum()) for text in set(texts.tolist())}
    order = sorted(sums, key=lambda text: -sums[text])
    assert first.tolist() == order[:live]
    assert rest.tolist() == order[live : live + stale]
    assert np.allclose([*first_weights, *rest_weights], [sums[text] for text in order[: live + stale]])


def test_mined_negatives_are_the_nearest() -> None:
    vectors = np.eye(4, dtype=np.float32)
    users = np.array([[0.9, 0.5, 0.3, 0.1]], np.float32)
    (found,) = mine(users, vectors, np.arange(4), [np.array([0])], count=2, pool=2, random=np.random.default_rng(0))
    assert set(found.tolist()) == {1, 2}
    (none,) = mine(users, vectors, np.arange(4), [np.arange(4)], count=2, pool=2, random=np.random.default_rng(0))
    assert none.tolist() == []
