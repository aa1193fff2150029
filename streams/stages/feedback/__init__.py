"""The feedback stage: what became of every recommended item, and what can be learned from it."""
