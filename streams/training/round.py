"""One round: fine-tunes from the serving model, fits the serving parameters, and judges. It works on files, without Kafka.

Every step leaves its result in the folder of the round, and is skipped if the result exists. So a killed round continues. The results are
``data`` (the frozen training set), ``checkpoints``, ``model``, ``report``, ``judged.json``.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.folder import SERVED_WITH
from streams.errors import SETUP, ConfigurationError, StateDamaged
from streams.models.registry.ranker_file import read_ranker, write_ranker
from streams.ranking.rules import DAY_MS
from streams.ranking.serving_params import ServingParams
from streams.serde.records import FeatureLog, TrainingPair
from streams.training.candidate import judge, judge_weights, quick_score, sample
from streams.training.cases import Split, split_by_time, without_exposure
from streams.training.dataset import training_set
from streams.training.evaluation.cases import Case
from streams.training.evaluation.report import write_report
from streams.training.evaluation_data import Encode, EvaluationData, ItemFacts, build_evaluation_data
from streams.training.frozen_set import has_frozen, load_frozen, save_frozen
from streams.training.ranker_candidate import Serving, judge_ranker, logged_of
from streams.training.round_directory import read_json, write_json
from streams.training.row_seal import RowSeal
from streams.training.rules import RoundRules
from streams.training.time_slices import OldSlice
from streams.training.torchrun import broadcast, size

if TYPE_CHECKING:
    from encoders.finetune.examples import TrainingSet
    from encoders.finetune.progress import OnProgress

log = logging.getLogger(__name__)
_EXPOSED = "judged also by what had been recommended, which speaks for the model that serves: too little was found alone"
_WEIGHED = "nothing trained, better weighed: the model as it was, with serving parameters fitted anew"
_NO_RANKER = "too little to fit a ranker to, and without one the model would be worse than what serves"
_NO_GAIN = "no validation was better than the model as it was"


@dataclass(frozen=True)
class Material:
    """What a round learns from and is judged by."""

    pairs: Sequence[TrainingPair]
    items: Mapping[str, ItemFacts]
    serving: ServingParams
    """How the model that serves is served."""
    propensity: Mapping[int, float]
    """By rank."""
    old: OldSlice | None = None
    newest_from_ms: int | None = None
    logs: Sequence[FeatureLog] = ()
    """What rankers looked at, as it was logged."""
    begin: Path | None = None
    """The model that training begins with, where that is not the one that serves."""


@dataclass(frozen=True)
class Judged:
    """What came of a round, as ``judged.json`` holds it."""

    promote: bool
    reasons: list[str]
    version: str
    """The candidate's."""
    parent: str
    dimension: int
    fitted: ServingParams
    metrics: dict[str, float]
    pairs: int
    """Examples that were learnt from."""
    data_from: int
    data_to: int
    steps: int
    seconds: float
    resumed_from: int | None = None
    trained: bool = True
    """False where the candidate is the model that serves, weighed anew."""

    @property
    def summary(self) -> str:
        """In one line."""
        return "; ".join(self.reasons)


def run_round(
    folder: Path,
    base: Path,
    material: Material,
    rules: RoundRules,
    on_progress: OnProgress | None = None,
    seal: RowSeal | None = None,
) -> Judged:
    """Do the round. The candidate is in ``folder/model``, the report in ``folder/report``. ``seal``: what the training set is sealed with.

    Raises ConfigurationError if there is too little data or the base model can't be trained, TrainingDiverged, and OSError for a
    full disk. Finished steps are used the next time.
    """
    before = read_json(folder / "judged.json")
    if before is not None:
        fitted = before["fitted"]  # a list in rounds of earlier versions
        params = ServingParams(*fitted) if isinstance(fitted, list) else ServingParams.from_dict(fitted)
        return Judged(**{**before, "fitted": params})
    folder.mkdir(parents=True, exist_ok=True)
    # A torn folder would be taken for another base or training; the training itself refuses a checkpoint that is not its own.
    split = _split(folder, material, rules)
    frozen = _frozen(folder / "data", lambda: _learnable(material, split, rules), seal)
    validation = sample(split.validation, rules.judge.quick_cases)
    judged_cases = [*validation, *(case for part in (split.validation, split.test, split.old) for case in sample(part, rules.judge.most))]
    data = build_evaluation_data(
        material.items,
        material.pairs,
        judged_from_ms=split.cuts.validation_from_ms,
        cases=judged_cases,
        rules=rules.split.profile,
    )
    finetuned = _finetuned(folder, base, frozen, material, data, validation, rules, on_progress)
    return _judged(folder, base, material, data, split, rules, frozen, finetuned)


def _split(folder: Path, material: Material, rules: RoundRules) -> Split:
    if len(material.pairs) == 0:
        raise ConfigurationError("there are no training pairs yet; let the shop run, or check that the feedback stage is running")
    whole = split_by_time(material.pairs, rules.split, material.old)
    gate = rules.judge.gate
    return without_exposure(whole, material.pairs, rules.split, min_cases=gate.min_cases, min_users=gate.min_users)


def _learnable(material: Material, split: Split, rules: RoundRules) -> TrainingSet:
    training = training_set(
        split.train,
        [pair for pair in material.pairs if pair["occurred_at"] < split.cuts.validation_from_ms],
        {item: facts.text for item, facts in material.items.items()},
        half_life_ms=material.serving.half_life_days * DAY_MS,
        propensity=material.propensity,
    )
    if len(training.examples) < 2:
        raise ConfigurationError(
            f"{len(material.pairs)} pairs give {len(training.examples)} examples to learn from; pairs need a history and known items"
        )
    return training


def _frozen(folder: Path, make: Callable[[], TrainingSet], seal: RowSeal | None) -> TrainingSet:
    """The frozen training set. A continued round must use the same set, because its checkpoints belong to it."""
    if has_frozen(folder):
        try:
            return load_frozen(folder, seal)
        except (*SETUP, StateDamaged) as error:
            log.warning("the round starts again: %s", error)
            shutil.rmtree(folder)
    training = make()
    save_frozen(folder, training, seal)
    return training


def _finetuned(
    folder: Path,
    base: Path,
    frozen: TrainingSet,
    material: Material,
    data: EvaluationData,
    validation: Sequence[Case],
    rules: RoundRules,
    on_progress: OnProgress | None,
) -> dict[str, Any]:
    from encoders.finetune.loop import finetune

    finetuned = read_json(folder / "finetuned.json")
    if finetuned is not None and (folder / "model").is_dir():
        broadcast(folder, material.begin or base, None)
        found: dict[str, Any] = finetuned
        return found
    shutil.rmtree(folder / "model", ignore_errors=True)
    config = rules.finetune_config(material.newest_from_ms)
    base = material.begin or base
    broadcast(folder, base, config)
    result = finetune(
        base,
        frozen,
        config,
        folder / "model",
        checkpoints=folder / "checkpoints",
        validate=lambda encode: quick_score(data, validation, encode, material.serving, rules.judge.fit.count),
        on_progress=on_progress,
    )
    for refused in result.refused_checkpoints:
        log.warning("a checkpoint was not used: %s", refused)
    finetuned = {
        "processes": size(),
        "steps": result.steps,
        "seconds": result.seconds,
        "best_step": result.best_step,
        "validations": result.validations,
        "resumed_from": result.resumed_from,
        "pairs_per_second": result.pairs_per_second,
    }
    write_json(folder / "finetuned.json", finetuned)
    return finetuned


def _judged(
    folder: Path,
    base: Path,
    material: Material,
    data: EvaluationData,
    split: Split,
    rules: RoundRules,
    frozen: TrainingSet,
    finetuned: dict[str, Any],
) -> Judged:
    from encoders import load_encoder

    def opened(path: Path) -> Any:
        return load_encoder(str(path), device=rules.device, precision=rules.precision, token_budget=rules.token_budget)

    serves = read_ranker(base)
    with closing(opened(base)) as old, closing(opened(folder / "model")) as new:
        versions = (new.version, old.version)
        dimension = new.dimension
        found = judge(data, split, _by(new), _by(old), material.serving, rules.judge)
        verdict = found.verdict
        if finetuned["best_step"] == 0:
            verdict = replace(verdict, promote=False, reasons=[_NO_GAIN, *verdict.reasons])
        weighed = None if verdict.promote else judge_weights(data, split, _by(old), material.serving, rules.judge)
        trained = verdict.promote
        if weighed is not None and weighed.verdict.promote:
            found, refused = weighed, verdict.reasons
            verdict = replace(
                weighed.verdict, reasons=[_WEIGHED, *weighed.verdict.reasons, *(f"the trained model: {why}" for why in refused)]
            )
        weights = found.fitted if verdict.promote else material.serving
        # What was logged is what the new ranker would see only under the same encoder and half-life.
        same = not trained and weights.half_life_days == material.serving.half_life_days
        window_ms = rules.split.attribution_ms
        ranked = judge_ranker(
            data,
            material.pairs,
            split,
            _by(new) if trained else _by(old),
            weights,
            Serving(_by(old), material.serving, serves),
            rules.split.profile,
            rules.judge,
            rules.ranker,
            logged_of(material.logs if same else (), material.pairs, versions[1], material.propensity, window_ms),
        )
    if ranked is not None:
        lists = f"{ranked.fitted.lists} lists, {ranked.fitted.shape}"
        refused = [*verdict.reasons, *ranked.told]
        if ranked.judgement.verdict.promote or serves is not None:
            # Beside a ranker that serves, an encoder is judged with a ranker only: alone it would take away what serves.
            found = ranked.judgement
            verdict = replace(found.verdict, reasons=[f"a ranker fitted to {lists}", *found.verdict.reasons, *refused])
        else:
            verdict = replace(verdict, reasons=[*refused, *(f"a ranker ({lists}): {why}" for why in ranked.judgement.verdict.reasons)])
    elif serves is not None and verdict.promote:
        verdict = replace(verdict, promote=False, reasons=[_NO_RANKER, *verdict.reasons])
    if verdict.promote:
        if not trained:
            _same_model(base, folder / "model", found.fitted)
        if ranked is not None and ranked.judgement.verdict.promote:
            write_ranker(folder / "model", ranked.fitted.ranker)
        with closing(opened(folder / "model")) as final:
            versions = (final.version, versions[1])
    if not split.alone and any(pair["rank"] is not None for pair in material.pairs):
        verdict = replace(verdict, reasons=[*verdict.reasons, _EXPOSED])
    earned = None if ranked is None else ranked.off_policy
    params = (found.fitted, material.serving)
    write_report(folder / "report", verdict, found.candidate, found.incumbent, versions=versions, fitted=params, off_policy=earned)
    numbers = found.verdict.numbers
    times = [example.at_ms for example in frozen.examples]
    judged = Judged(
        promote=verdict.promote,
        reasons=list(verdict.reasons),
        version=versions[0],
        parent=versions[1],
        dimension=dimension,
        fitted=found.fitted,
        metrics={f"hr@{rules.judge.fit.count}": numbers["candidate_hit"], f"ndcg@{rules.judge.fit.count}": numbers["candidate_ndcg"]},
        pairs=len(frozen.examples),
        data_from=min(times),
        data_to=max(times),
        steps=finetuned["steps"],
        seconds=finetuned["seconds"],
        resumed_from=finetuned["resumed_from"],
        trained=trained,
    )
    write_json(folder / "judged.json", asdict(judged))
    return judged


def _same_model(base: Path, target: Path, fitted: ServingParams) -> None:
    """The base model as it is, with a note of its new serving parameters, by which it is another version."""
    part = target.with_name(target.name + ".same")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(base, part)
    write_json(part / SERVED_WITH, fitted.to_dict())
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)


def _by(encoder: Any) -> Encode:
    encode: Encode = encoder.encode
    return encode
