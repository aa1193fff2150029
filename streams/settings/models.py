"""Settings of the encoder, and of how models reach the workers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class ModelSettings(BaseSettings):
    """Of everything that encodes."""

    # encoder
    model: str = Field(
        "bundled",
        description="Encoder: `bundled` (`bundled-multilingual`), `bundled-en`, a Hugging Face id, a folder, or `hashing` (no model).",
    )
    device: str = Field("auto", description="Device of the encoder: auto, cpu, cuda, cuda:0 ...")
    precision: str = Field(
        "auto", description="Arithmetic of the encoder: auto (the fastest that is exact enough on this machine), int16, fp32, bf16, fp16."
    )
    encoder_token_budget: int = Field(2048, ge=64, description="Maximum number of tokens in one encoder batch, padding included.")
    encoder_compile: bool = Field(
        False, description="Whether to compile the encoder's passes on a GPU. Each of about 36 shapes takes seconds at its first use."
    )
    encoder_cache_mb: int = Field(64, ge=0, description="Size of the cache for vectors of recent texts, MiB per worker.")
    item_text_characters: int = Field(
        1000,
        ge=16,
        le=10_000,
        description="Maximum length of the text of an item that is encoded (title, category, brand, description), characters.",
    )
    item_language: str | None = Field(
        None,
        pattern=r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}",
        description="Language (BCP 47, small letters) of the title that is encoded, where an item has titles in several. Unset: `title`.",
    )

    # models
    models: str = Field("models", description="Store of the model versions: a folder, or any fsspec URL (s3://bucket/models, gs://...).")
    models_uncounted: bool = Field(
        True,
        description="Whether announcements of models without a counter are obeyed: those made before version 0.2. Version 0.3 refuses "
        "them. Turn it off as soon as `veilstream models list` names none.",
    )
    models_cache: Path = Field(Path("var/models"), description="Folder where fetched model versions are kept and verified.")
    models_keep: int = Field(
        20,
        ge=0,
        description="Number of the newest model versions that stay in the store in any case. Older ones are removed by the trainer after a "
        "round, and by `veilstream models expire`, once they are VEILSTREAM_MODELS_KEEP_DAYS old; never what serves, nor its "
        "parent. 0: all stay.",
    )
    models_keep_days: float = Field(180.0, gt=0, description="Age from which a model version may be removed, days.")
    model_grace_s: float = Field(
        3600.0,
        ge=0,
        description="Time for which the catalogue's vectors are kept under a model that no channel uses any more, seconds.",
    )
    model_items_share: float = Field(
        1.0, gt=0, le=1, description="Share of the catalogue's items that must be encoded under a new model before the model serves."
    )
