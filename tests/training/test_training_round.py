"""A round on files: what is learnt, what the gate says, and that it goes on after kills and damage."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders import load_encoder
from encoders.finetune.checkpoint import Checkpoints
from streams.errors import ConfigurationError
from streams.models.registry.ranker_file import read_ranker, write_ranker
from streams.ranking.learned.features import FEATURES, LEVELS
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import nothing_related
from streams.training.evaluation.fit import FitRule
from streams.training.learned.fit import RankerRule
from streams.training.round import Judged, Material, run_round
from tests.support import ROOT
from tests.support.trainer_data import SERVING, feature_log, material, model, pair, quick_rules, shop_pairs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def learnt(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Judged]:
    folder = tmp_path_factory.mktemp("learnt") / "round"
    return folder, run_round(folder, base, material(), quick_rules(steps=300))


@pytest.mark.slow
def test_what_can_be_learnt_is_promoted_with_its_report(learnt: tuple[Path, Judged], base: Path) -> None:
    folder, judged = learnt
    assert judged.promote, judged.reasons
    assert judged.version != judged.parent
    assert judged.metrics["hr@10"] > 0.5, "by chance it would be a sixth or so"
    assert 0 < judged.pairs < len(shop_pairs())
    assert "promoted" in (folder / "report" / "report.md").read_text()
    assert (folder / "report" / "report.png").stat().st_size > 1000
    assert run_round(folder, base, material(), quick_rules(steps=300)) == judged, "a second time nothing is done"


@pytest.mark.slow
def test_the_gate_may_say_no(base: Path, tmp_path: Path) -> None:
    judged = run_round(tmp_path / "round", base, material(), quick_rules(steps=2, min_gain=0.99))
    assert not judged.promote
    assert any("does not gain" in reason for reason in judged.reasons)
    assert "not promoted" in (tmp_path / "round" / "report" / "report.md").read_text()


@pytest.mark.parametrize("pairs", [0, 3])
def test_too_little_is_said(base: Path, tmp_path: Path, pairs: int) -> None:
    few = Material(pairs=shop_pairs()[:pairs], items={}, serving=SERVING, propensity={})
    with pytest.raises(ConfigurationError, match=r"no training pairs|examples to learn from"):
        run_round(tmp_path / "round", base, few, quick_rules())


@pytest.mark.slow
def test_a_full_disk_ends_the_round_and_the_next_try_goes_on(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first checkpoint is saved, the second meets a full disk."""
    saved: list[int] = []
    whole = Checkpoints.save

    def full(self: Checkpoints, step: int, *rest: object) -> Path:
        if saved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved.append(step)
        return whole(self, step, *rest)  # type: ignore[arg-type]

    rules = quick_rules(steps=20, checkpoint_steps=6)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(OSError, match="No space"):
            run_round(tmp_path / "round", base, material(), rules)
    judged = run_round(tmp_path / "round", base, material(), rules)
    assert judged.resumed_from == 6
    assert judged.steps == 20


ROUND = """
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tests.support.trainer_data import material
from streams.training.round import run_round
from tests.support.trainer_data import quick_rules
run_round(Path(sys.argv[1]), Path(sys.argv[2]), material(), quick_rules(steps=100, checkpoint_steps=5))
"""


@pytest.mark.slow
@pytest.mark.parametrize("damage", [False, True])
def test_killed_in_the_middle_it_goes_on(base: Path, tmp_path: Path, damage: bool) -> None:
    """With SIGKILL. A damaged newest checkpoint is refused, and the one before it taken."""
    folder = tmp_path / "round"
    with subprocess.Popen([sys.executable, "-c", ROUND, str(folder), str(base)], cwd=ROOT) as child:
        deadline = time.monotonic() + 60
        while len(list((folder / "checkpoints").glob("step-????????"))) < 2:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    kept = sorted((folder / "checkpoints").glob("step-????????"))
    assert not (folder / "judged.json").exists()
    if damage:
        with (kept[-1] / "tensors.safetensors").open("r+b") as file:
            file.seek(-40, os.SEEK_END)
            file.write(b"\xff" * 40)
    judged = run_round(folder, base, material(), quick_rules(steps=100, checkpoint_steps=5))
    assert judged.resumed_from == int(kept[-2 if damage else -1].name.removeprefix("step-"))
    assert judged.steps == 100


@pytest.mark.slow
def test_a_ranker_is_a_version_too_and_serves_with_the_model(base: Path, tmp_path: Path) -> None:
    quick = quick_rules(steps=2)
    judged = run_round(tmp_path / "round", base, material(), replace(quick, learning_rate=1e-12))
    assert judged.promote, judged.reasons
    assert "a ranker fitted to" in judged.reasons[0]
    ranker = read_ranker(tmp_path / "round" / "model")
    assert ranker is not None
    assert ranker.used
    opened = load_encoder(str(tmp_path / "round" / "model"), precision="fp32")
    assert opened.version == judged.version != judged.parent
    assert (opened.encode(["one"]) == load_encoder(str(base), precision="fp32").encode(["one"])).all()


@pytest.mark.slow
def test_logs_are_learnt_from_and_tell_what_a_ranker_would_have_earned(base: Path, tmp_path: Path) -> None:
    quick, plain = quick_rules(steps=2), material()
    quick = replace(quick, split=quick.split._replace(attribution_ms=1_800_000))
    with closing(load_encoder(str(base), precision="fp32")) as opened:
        version = opened.version
    times = sorted(pair["occurred_at"] for pair in plain.pairs)
    moments = times[:: len(times) // 60]
    logs = [feature_log(n, at_ms=at_ms, user=f"k1.u{n}", version=version) for n, at_ms in enumerate(moments)]
    taken = [pair(10**6 + n, log["pseudonym"], "i1", at_ms=log["created_at"] + 1000, rank=1) for n, log in enumerate(logs[::2])]
    pairs = [*plain.pairs, *({**one, "recommendation_id": f"r{2 * n}"} for n, one in enumerate(taken))]
    logs.append({**logs[0], "log_id": "f" * 32, "features": "0" * 12})
    logged = replace(plain, pairs=pairs, logs=logs)  # type: ignore[arg-type]
    judged = run_round(tmp_path / "round", base, logged, replace(quick, learning_rate=1e-12))
    told = [reason for reason in judged.reasons if "logs of features used" in reason]
    assert len(told) == 1 and "1 of another table of features" in told[0]
    assert any("gain" in reason and "SNIPS" in reason for reason in judged.reasons)
    report = (tmp_path / "round" / "report" / "report.md").read_text()
    assert "## What the ranker would have earned" in report
    if judged.promote:
        ranker = read_ranker(tmp_path / "round" / "model")
        assert ranker is not None and "of them logged" in ranker.fitted


@pytest.mark.slow
def test_a_ranker_keeps_to_the_volume_that_is_asked_for(base: Path, tmp_path: Path) -> None:
    quick = quick_rules(steps=2)
    thresholds = []
    for volume in (1.0, 6.0):
        judge = replace(quick.judge, fit=replace(quick.judge.fit, target_volume=volume))
        judged = run_round(tmp_path / f"round {volume}", base, material(), replace(quick, learning_rate=1e-12, judge=judge))
        assert "a ranker fitted to" in judged.reasons[0]
        thresholds.append(judged.fitted.threshold)
    assert thresholds[0] > thresholds[1]


def test_beside_a_ranker_that_serves_a_model_without_one_is_never_promoted(base: Path, tmp_path: Path) -> None:
    served = tmp_path / "base"
    shutil.copytree(base, served)
    write_ranker(served, Ranker(np.zeros((len(FEATURES), LEVELS), np.float32), 0.0, 1.0, 0.0, nothing_related(), no_forest()))
    rules = replace(quick_rules(steps=2), ranker=RankerRule(least_lists=10**9))
    judged = run_round(tmp_path / "round", served, material(), rules)
    assert not judged.promote


@pytest.mark.slow
def test_weights_alone_are_a_version_too(base: Path, tmp_path: Path) -> None:
    """Nothing is learnt, but what is bought together says all in this shop, and the model that serves gives it no weight."""
    quick = quick_rules(steps=2)
    judge = replace(quick.judge, fit=FitRule(min_cases=20, spread_tolerance=None))
    rules = replace(quick, learning_rate=1e-12, judge=judge, ranker=RankerRule(least_lists=10**9))
    judged = run_round(tmp_path / "round", base, material(), rules)
    assert judged.promote, judged.reasons
    assert "better weighed" in judged.reasons[0]
    assert any("no validation was better" in reason for reason in judged.reasons)
    assert judged.fitted.together_weight > 0
    assert judged.version != judged.parent
    assert judged.metrics["hr@10"] > 0.5
    opened = load_encoder(str(tmp_path / "round" / "model"), precision="fp32")
    assert opened.version == judged.version
    assert (opened.encode(["one"]) == load_encoder(str(base), precision="fp32").encode(["one"])).all()
