"""Turns a candidate that passed the gate into a version of the registry."""

from __future__ import annotations

import shutil
from pathlib import Path

from nacl.signing import SigningKey

from streams.models.registry.folder import file_sizes, hash_files, model_files
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore
from streams.ranking.serving_params import ServingParams
from streams.training.round import Judged


def publish(folder: Path, judged: Judged, store: ModelStore, key: SigningKey, *, base: str, now_ms: int) -> Manifest:
    """Make a version of ``folder/model`` and its report, and return it as it is in the store. If it exists from before a kill, it is
    kept.

    Raises TransientError if the store is full or away, ModelRefused if it holds other files under this version.
    """
    model = folder / "model"
    for name in ("report.md", "report.png"):
        shutil.copyfile(folder / "report" / name, model / name)
    (model / "README.md").write_text(card(judged, base), encoding="utf-8")
    kept, _ = model_files(model)
    manifest = Manifest(
        model_version=judged.version,
        parent=judged.parent,
        base=base,
        created_at=now_ms,
        dimension=judged.dimension,
        files=hash_files(model, kept),
        sizes=file_sizes(model, kept),
        metrics=judged.metrics,
        serving=judged.fitted,
        data_from=judged.data_from,
        data_to=judged.data_to,
        pairs=judged.pairs,
        verdict=judged.summary,
    )
    return store.publish(model, manifest, key)


def card(judged: Judged, base: str) -> str:
    """The model card, Markdown."""
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in judged.metrics.items())
    fitted = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in judged.fitted.to_dict().items())
    return "\n".join(
        [
            f"# Model {judged.version}",
            f"Fine-tuned by Veilstream from {judged.parent} (which began with {base}).",
            "",
            f"- Learnt from {judged.pairs} examples between {judged.data_from} and {judged.data_to} (epoch milliseconds); pseudonymous.",
            f"- {judged.steps} steps in {judged.seconds:.0f} s.",
            f"- On what came after: {metrics}.",
            f"- Served with: {fitted}.",
            f"- The gate: {judged.summary}.",
            "- No differential privacy was used.",
            "",
            "How it was judged: [report.md](report.md).",
            "",
        ]
    )


def publish_base(
    folder: Path, judged: Judged, fitted: ServingParams, store: ModelStore, key: SigningKey, *, base: str, now_ms: int
) -> Manifest:
    """The model that the candidate was trained from as a version, so that one can go back to it. Raises as ``publish``."""
    if judged.parent in store.list_versions():
        return store.read_manifest(judged.parent, key.verify_key)
    kept, _ = model_files(folder)
    manifest = Manifest(
        model_version=judged.parent,
        parent=None,
        base=base,
        created_at=now_ms,
        dimension=judged.dimension,
        files=hash_files(folder, kept),
        sizes=file_sizes(folder, kept),
        metrics={},
        serving=fitted,
        verdict="the model that training began with",
    )
    return store.publish(folder, manifest, key)
