"""TensorBoard's logs are read without TensorBoard, whole or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.console.scalars import read_curves, scalars


@pytest.mark.slow
def test_the_log_of_the_trainer_is_read(tmp_path: Path) -> None:
    from encoders.finetune.progress import Progress, TensorBoard

    board = TensorBoard(tmp_path)
    for step in (1, 2, 300):
        validation = 0.5 if step == 300 else None
        board.write(
            Progress(step, 300, 1 / step, learning_rate=0.1, pairs_per_second=5.0, seconds_left=1.0, epoch=0.1, validation=validation)
        )
    board.close()
    curves = read_curves(tmp_path)
    assert [step for step, _ in curves["loss"]] == [1.0, 2.0, 300.0]
    assert curves["loss"][1][1] == pytest.approx(0.5)
    assert curves["validation"] == [(300.0, pytest.approx(0.5))]
    (file,) = tmp_path.glob("events.out.*")
    content = file.read_bytes()
    whole = list(scalars(content))
    for cut in range(0, len(content), 7):
        assert list(scalars(content[:cut])) == whole[: len(list(scalars(content[:cut])))]


def test_no_log_is_no_curve(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "nothing") == {}


@given(st.binary(max_size=200))
def test_any_bytes_end(content: bytes) -> None:
    assert isinstance(list(scalars(content)), list)
    assert isinstance(list(scalars(len(content).to_bytes(8, "little") + bytes(4) + content)), list)
