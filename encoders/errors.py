"""What goes wrong with models and their training."""

from __future__ import annotations


class EncoderError(Exception):
    """Every error of this package that an operator can mend; the message names the fix."""


class UnusableError(EncoderError):
    """A model folder, a device, a setting or a training set that can't be used."""


class TrainingDiverged(EncoderError):
    """A fine-tuning has no finite loss or gradient any more."""
