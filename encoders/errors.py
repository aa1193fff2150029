"""Errors of models and of their training."""

from __future__ import annotations

from importlib.util import find_spec


class EncoderError(Exception):
    """Every error of this package that an operator can mend; the message names the fix."""


class UnusableError(EncoderError):
    """A model folder, a device, a setting or a training set that can't be used."""


class TrainingDiverged(EncoderError):
    """A fine-tuning has no finite loss or gradient any more."""


def require(extra: str, *modules: str) -> None:
    """Raises UnusableError, which names the extra to install, where one of these modules is missing."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UnusableError(f"{', '.join(missing)} is not installed; run: pip install 'veilstream[{extra}]'")
