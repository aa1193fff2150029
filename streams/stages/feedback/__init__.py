"""The feedback stage: the outcome of every recommended item, and training pairs."""
