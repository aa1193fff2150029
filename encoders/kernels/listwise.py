"""The compiled loss of an additive model over lists: how well tables of levels predict which of a list's candidates was taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels.compiling import compiler


@compiler((), "listwise", fastmath={"reassoc", "contract", "nsz"})
def loss_and_gradient(tables: Any, levels: Any, taken: Any, begins: Any, gradient: Any) -> Any:
    """-Σ over lists, Σ over the list's pairs of taken · ln softmax(score), where a pair's score is the sum of its levels' table entries.

    ``tables`` and ``gradient`` float64 [columns, 256], ``levels`` uint8 [pairs, columns], ``taken`` float64 [pairs]: shares of what was
    taken, 1 in each list together; ``begins`` [lists + 1]. The gradient is added to.
    """
    columns = levels.shape[1]
    longest = 0
    for number in range(len(begins) - 1):
        longest = max(longest, begins[number + 1] - begins[number])
    scores = np.empty(longest)
    loss = 0.0
    for number in range(len(begins) - 1):
        first, count = begins[number], begins[number + 1] - begins[number]
        largest = -np.inf
        for at in range(count):
            score = 0.0
            for column in range(columns):
                score += tables[column, levels[first + at, column]]
            scores[at] = score
            largest = max(largest, score)
        total, expected = 0.0, 0.0
        for at in range(count):
            expected += taken[first + at] * (scores[at] - largest)
            scores[at] = np.exp(scores[at] - largest)
            total += scores[at]
        loss += np.log(total) - expected
        for at in range(count):
            slope = scores[at] / total - taken[first + at]
            for column in range(columns):
                gradient[column, levels[first + at, column]] += slope
    return loss
